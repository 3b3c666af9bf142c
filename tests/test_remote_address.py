"""Addresses, and what of them ssh and scp get to see."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtasnet_edge.benchmarks.remote.address import SshAddress
from ddtasnet_edge.errors import ConfigError

NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)


@given(user=st.from_regex(r"([a-z][a-z0-9_-]{0,8}@)?", fullmatch=True), name=NAMES, port=st.integers(1, 65535))
def test_every_host_comes_last_and_its_files_behind_a_colon(user: str, name: str, port: int) -> None:
    address = SshAddress(f"{user}{name}", port)
    assert address.options("-P") == ["-P", str(port)]
    assert address.remote_path("/a/b") == f"{user}{name}:/a/b"
    assert address.command() == f"ssh -p {port} {user}{name}"
    assert address.name == name


def test_an_ipv6_address_gets_brackets_where_a_path_follows() -> None:
    assert SshAddress("pi@fe80::1").remote_path("/a") == "pi@[fe80::1]:/a"


@given(host=st.sampled_from(["-oProxyCommand=x", "a b", "a\nb", "ssh://pi", "pi/x", " pi", "pi\0"]))
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="is not a host; give a name"):
        SshAddress(host)


def test_an_empty_host_is_called_empty() -> None:
    with pytest.raises(ConfigError, match=r"the host is empty, .*; give a name"):
        SshAddress("")


def test_a_port_behind_the_host_is_shown_its_place() -> None:
    with pytest.raises(ConfigError, match="give --host me@pi --port 2222"):
        SshAddress("me@pi:2222")


@given(port=st.integers().filter(lambda port: not 1 <= port <= 65535))
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(ConfigError, match="expected 1 to 65535"):
        SshAddress("pi", port)


@pytest.mark.parametrize("field", ["identity", "config"])
def test_a_file_that_is_not_there_is_missed_at_once(field: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no .* file .*nowhere"):
        SshAddress("pi", **{field: tmp_path / "nowhere"})  # type: ignore[arg-type]


def test_identity_and_config_are_handed_on(tmp_path: Path) -> None:
    key, config = tmp_path / "key", tmp_path / "config"
    key.touch()
    config.touch()
    assert SshAddress("pi", identity=key, config=config).options("-p") == ["-F", str(config), "-i", str(key)]
