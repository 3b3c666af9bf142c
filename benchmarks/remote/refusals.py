"""What ssh says when it gets no connection, and a board that has no room, in a line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable

from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.errors import DeviceError, EdgeError

# Less than this is none, in KiB.
NO_SPACE = 1024
MAKE_ROOM = "free some space there, or set TMPDIR of that login to a folder with more"


class ConnectionLostError(EdgeError):
    """No connection to the board, or no longer; another try may get one."""


class LoginRefusedError(EdgeError):
    """ssh will not connect as things are, and no other try will help."""


def _key_changed(address: SshAddress, found: re.Match[str], said: str) -> str:
    file = re.search(r"Offending \S+ key in (.+):\d+", said)
    kept = f" -f {file[1]}" if file else ""
    return (
        f"the host key of {address.host} is not the one that this machine knows: another machine answers there, or it "
        f"was set up anew; if you know that it was, run  ssh-keygen{kept} -R '{found[1]}'  and connect once by hand"
    )


def _key_unknown(address: SshAddress, _: re.Match[str], __: str) -> str:
    return (
        f"this machine does not know the host key of {address.host} yet; run  {address.command()}  once and confirm "
        "the key, then try again"
    )


def _denied(address: SshAddress, found: re.Match[str], said: str) -> str:
    key = re.search(r"(Load key .*|Identity file .* not accessible.*)", said)
    reason = f" ({key[1].strip()})" if key else ""
    return (
        f"{address.host} let nobody in: it accepts {found[1].replace(',', ', ')}, and ssh had nothing that fits"
        f"{reason}; check the user, give --identity KEY, or run  ssh-copy-id {address.host}"
    )


def _config(address: SshAddress, found: re.Match[str], _: str) -> str:
    return f"ssh does not take its configuration for {address.host}: {found[1].strip()}; correct that file"


def _unknown_name(_: SshAddress, found: re.Match[str], __: str) -> str:
    return (
        f"nothing is known of a host '{found[1]}' ({found[2].strip()}); check the spelling, try {found[1]}.local or "
        "its address in numbers"
    )


def _refused(address: SshAddress, found: re.Match[str], _: str) -> str:
    return (
        f"{address.host} is there and refuses connections on port {found[1]}; start its ssh server (on a Pi: "
        "sudo systemctl enable --now ssh), or check --port"
    )


def _unreachable(address: SshAddress, found: re.Match[str], _: str) -> str:
    return f"{address.host} does not answer ({found[1]}); check that it is on and in this network, and its address"


Explain = Callable[[SshAddress, "re.Match[str]", str], str]

# In this order: a changed key also ends with "verification failed".
FINAL: tuple[tuple[str, Explain], ...] = (
    (r"[Hh]ost key for (\S+) has changed", _key_changed),
    (r"Host key verification failed|No \S+ host key is known for", _key_unknown),
    (r"Permission denied \(([^)]*)\)", _denied),
    (r"((?:\S+: line \d+: )?Bad configuration option.*|Bad owner or permissions.*|Can't open user config.*)", _config),
)
PASSING: tuple[tuple[str, Explain], ...] = (
    (r"Could not resolve hostname (\S+): (.*)", _unknown_name),
    (r"port (\d+): Connection refused", _refused),
    (r"(Connection timed out|Operation timed out|No route to host|Network is unreachable|Host is down)", _unreachable),
)


def refusal(address: SshAddress, said: str) -> EdgeError:
    """The error for what ssh said on stderr before it exited with 255."""
    for kind, reasons in ((LoginRefusedError, FINAL), (ConnectionLostError, PASSING)):
        for pattern, explain in reasons:
            if found := re.search(pattern, said):
                return kind(explain(address, found, said))
    lines = said.strip().splitlines()
    last = lines[-1].strip() if lines else "ssh said nothing"
    return ConnectionLostError(f"no connection to {address.host} ({last}); try  {address.command()}  by hand")


def full_disk(host: str, said: str, free: int | None = None) -> DeviceError | None:
    """The error for a full disk there, if it is one. said: what failed, in its own words; free: KiB, where known."""
    if (free is None or free >= NO_SPACE) and "No space left on device" not in said:
        return None
    left = "" if free is None else f" ({free} KiB left)"
    return DeviceError(f"the disk of {host} is full{left}; {MAKE_ROOM}")
