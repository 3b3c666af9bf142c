"""Our own bundles among the peers: built like any bundle, without the evidence that this run gathers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.runtimes import open_session
from ddtasnet_edge.session import Session

if TYPE_CHECKING:
    from ddtasnet_edge.compiler import Compiler


def build_bundle(compiler: Compiler, name: str, place: PeerPlace) -> None:
    """Build one bundle with a compiler that all of them share: its graphs and what calibration saw are made once.

    Raises EdgeError.
    """
    from ddtasnet_edge.quantize import recipe_named

    _, target, recipe = name.split("-")
    compiler.build(place.folder(name), target, recipe_named(recipe))


def build_peer(name: str, place: PeerPlace) -> None:
    """Nothing is left to do: `build_bundle` has been there."""


def open_peer(name: str, place: PeerPlace) -> Session:
    """A session on the bundle."""
    return open_session(place.folder(name), place.threads)
