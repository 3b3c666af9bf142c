"""One task on one peer in a fresh process: what crashes or leaks there harms nobody else.

`python -m ddtasnet_edge.benchmarks.peers.worker JOB` takes a PeerJob as JSON and prints what it found on stdout, an
object with `error` when that is a failure.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from ddtasnet_edge.benchmarks.peers.place import PeerPlace
from ddtasnet_edge.benchmarks.peers.registry import PEERS, Peer, peer_module
from ddtasnet_edge.benchmarks.process import keep_stdout
from ddtasnet_edge.benchmarks.timing import measure_hops
from ddtasnet_edge.errors import EdgeError
from ddtasnet_edge.runtimes.parity import compare
from ddtasnet_edge.runtimes.thresholds import Thresholds
from ddtasnet_edge.session import Session

# What a quantized bundle of random weights must reach too (runtimes/thresholds.json), in dB SNR.
LOWEST_SNR, LOWEST_SNR_OF_FOUR_BITS = 15.0, 10.0
# Enough hops to tell how long a round will take.
TRIED_HOPS = 5
# Of the message of an error.
LONGEST_REASON = 160


@dataclass(frozen=True)
class PeerJob:
    """What to do with a peer. root, threads: of the PeerPlace; hops, warmup: to measure."""

    task: Literal["build", "check", "measure"]
    peer: str
    root: str
    threads: int
    hops: int = 0
    warmup: int = 0


@dataclass(frozen=True)
class PeerCheck:
    """A peer against the PyTorch step on the clip.

    runtime: name and version of the library that ran it; snr_db: of all stems; dsdr_db: change of the stem's SDR that
    changed most, NaN without true stems; failure: why its output is wrong, None when it is not; hop_us: about how long
    a hop takes; size_bytes: of its files.
    """

    runtime: str
    snr_db: float
    dsdr_db: float
    failure: str | None
    hop_us: float
    size_bytes: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PeerCheck:
        """The inverse of `dataclasses.asdict`, also after a trip through JSON, which has no NaN."""
        known = {name: math.nan if values[name] is None else values[name] for name in ("snr_db", "dsdr_db")}
        return cls(**{**values, **known})


def work(job: PeerJob) -> dict[str, Any]:
    """Do a task; what it found, as JSON values. Raises whatever the tools raise."""
    peer, place = PEERS[job.peer], PeerPlace(Path(job.root), job.threads)
    module = peer_module(peer)
    if job.task == "build":
        module.build_peer(peer.name, place)
        return {}
    with module.open_peer(peer.name, place) as session:
        if job.task == "check":
            return asdict(_check(peer, place, session))
        return asdict(measure_hops(session, place.hops(), job.hops, warmup=job.warmup, paced=False))


def _check(peer: Peer, place: PeerPlace, session: Session) -> PeerCheck:
    limit = LOWEST_SNR_OF_FOUR_BITS if peer.bits == 4 else LOWEST_SNR
    report = compare(session, [place.clip()], [place.reference()], Thresholds(snr_db=limit), "torch")
    times = measure_hops(session, place.hops(), TRIED_HOPS, warmup=1, paced=False)
    clip = report.clips[0]
    return PeerCheck(
        runtime=session.runtime,
        snr_db=clip.snr_db,
        dsdr_db=clip.worst_dsdr,
        failure=report.failures[0].removeprefix(f"{clip.clip}: ") if report.failures else None,
        hop_us=median(times.times_us),
        size_bytes=sum(path.stat().st_size for path in place.folder(peer.name).rglob("*") if path.is_file()),
    )


def reason_of(error: BaseException) -> str:
    """An error in one line: what it is and the first line of what it says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0][:LONGEST_REASON] if lines else ""
    if isinstance(error, EdgeError):
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def main() -> int:
    """Do the task of the command line."""
    print_result = keep_stdout()
    job = PeerJob(**json.loads(sys.argv[1]))
    try:
        found = work(job)
    except Exception as error:  # noqa: BLE001 - converters raise whatever they please, and that is the result here
        found = {"error": reason_of(error)}
    print_result(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
