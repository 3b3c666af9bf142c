"""Which board, and how ssh gets there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ddtasnet_edge.errors import ConfigError

# What ssh and scp both take as a host; what begins with '-' would be an option.
HOST = re.compile(r"[^\s/\-\x00-\x1f][^\s/\x00-\x1f]*")
EXPECTED = "a name, user@name or a Host of your ssh config"
HIGHEST_PORT = 65535


@dataclass(frozen=True)
class SshAddress:
    """A board. host: a name, user@name or a Host of ssh's own configuration; port, identity (a private key) and config
    (a configuration file in place of the user's): as of ssh, None for what that configuration says.

    Raises ConfigError for what cannot be an address and for files that are not there.
    """

    host: str
    port: int | None = None
    identity: Path | None = None
    config: Path | None = None

    def __post_init__(self) -> None:
        if not self.host:
            raise ConfigError(f"the host is empty, as a shell variable that is not set; give {EXPECTED}")
        if not HOST.fullmatch(self.host):
            raise ConfigError(f"'{self.host}' is not a host; give {EXPECTED}")
        name, _, port = self.name.partition(":")
        if port.isdigit():
            raise ConfigError(f"'{self.host}' ends with a port; give --host {self._user}{name} --port {port}")
        if self.port is not None and not 1 <= self.port <= HIGHEST_PORT:
            raise ConfigError(f"port is {self.port}, expected 1 to {HIGHEST_PORT}; leave it out for ssh's own")
        for what, path in (("identity", self.identity), ("ssh config", self.config)):
            if path is not None and not path.is_file():
                raise ConfigError(f"there is no {what} file {path}; check the path, or leave it out for ssh's own")

    @property
    def name(self) -> str:
        """The host without the user."""
        return self.host.rpartition("@")[2]

    def options(self, port_flag: str) -> list[str]:
        """Of ssh (port_flag -p) or scp (-P)."""
        options = [] if self.config is None else ["-F", str(self.config)]
        options += [] if self.identity is None else ["-i", str(self.identity)]
        return options + ([] if self.port is None else [port_flag, str(self.port)])

    def remote_path(self, path: str) -> str:
        """A file there as scp writes it; the colons of an IPv6 address need brackets."""
        name = f"[{self.name}]" if ":" in self.name else self.name
        return f"{self._user}{name}:{path}"

    def command(self) -> str:
        """What a person types to connect."""
        return " ".join(["ssh", *self.options("-p"), self.host])

    @property
    def _user(self) -> str:
        return self.host[: len(self.host) - len(self.name)]
