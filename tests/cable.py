"""A cable between ssh and sshd that a test can cut."""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread


class Cable:
    """A TCP relay to a port, cut once after so many bytes in one direction (there: to the port, or back)."""

    def __init__(self, to: int, *, there: bool) -> None:
        self.cut_after: int | None = None
        self.cuts = 0
        self._there = there
        self._to = to
        self._ends: list[socket.socket] = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop all connections; new ones are taken."""
        self.cuts += 1
        ends, self._ends = self._ends, []
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        """For good."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._server.accept()
                board = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [client, board]
                Thread(target=self._relay, args=(client, board, self._there), daemon=True).start()
                Thread(target=self._relay, args=(board, client, not self._there), daemon=True).start()

    def _relay(self, source: socket.socket, target: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while block := source.recv(1 << 16):
                if counted and self.cut_after is not None:
                    self.cut_after -= len(block)
                    if self.cut_after <= 0:
                        self.cut_after = None
                        self.cut()
                        return
                target.sendall(block)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)
