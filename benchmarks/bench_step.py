"""The step of every runtime at every recipe, for pytest-benchmark; the normal test run does not collect this file.

    pytest benchmarks/bench_step.py --benchmark-json new.json
    ddtasnet-bench --compare old.json new.json

All bundles are built first, by the code as it is now, and take turns; beside each, the read bandwidth is measured.
Leave the machine alone meanwhile. `ddtasnet-bench` is the measurement to quote: it gives every bundle a process of its
own.
"""

from __future__ import annotations

from itertools import cycle, product

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ddtasnet_edge.benchmarks.bandwidth import read_bandwidth
from ddtasnet_edge.benchmarks.building import TARGETS, Wanted, find_or_build
from ddtasnet_edge.benchmarks.compare import BUNDLE, REFERENCE_US
from ddtasnet_edge.benchmarks.sound import load_sound
from ddtasnet_edge.benchmarks.suite import WARMUP_HOPS
from ddtasnet_edge.bundle import Bundle
from ddtasnet_edge.console import activity
from ddtasnet_edge.runtimes import open_session

MODELS = ("tiny", "small")
RECIPES = ("float32", "static_wi8_ai8", "dynamic_wi8_afp32", "dynamic_wi4b64_wi8_afp32")
TURNS = 3
HOPS = 300
FLOAT_BYTES = 4

WANTED = [Wanted(*each) for each in product(MODELS, TARGETS, RECIPES)]
CASES = [pytest.param(turn, each, id=f"{turn}-{each.name}") for turn in range(1, TURNS + 1) for each in WANTED]


@pytest.fixture(scope="session")
def bundles(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[Wanted, Bundle]:
    """Every bundle that was asked for, fresh: one from an earlier day would hide what changed since."""
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = {test.callspec.params["wanted"] for test in tests if test.function is test_step}
    wanted = [each for each in WANTED if each in asked]
    with activity() as begin:
        built = find_or_build(wanted, tmp_path_factory.mktemp("bundles"), begin)
    return dict(zip(wanted, built, strict=True))


@pytest.mark.parametrize(("turn", "wanted"), CASES)
def test_step(benchmark: BenchmarkFixture, bundles: dict[Wanted, Bundle], turn: int, wanted: Wanted) -> None:
    """Hops of real music, one by one."""
    bundle = bundles[wanted]
    hops = cycle(load_sound(bundle.manifest.spec, WARMUP_HOPS + HOPS).hops)
    benchmark.group = f"{wanted.model}, turn {turn}"
    with open_session(bundle) as session:
        benchmark.pedantic(session.step, setup=lambda: ((next(hops),), {}), rounds=HOPS, warmup_rounds=WARMUP_HOPS)
        runtime = session.runtime
    # Updated, not replaced: what is saved is the dictionary that was there when the measurement began.
    benchmark.extra_info.update(
        {BUNDLE: wanted.name, REFERENCE_US: _reference_us(bundle), "runtime": runtime, "digest": bundle.digest}
    )


def _reference_us(bundle: Bundle) -> float:
    """Microseconds in which one thread reads all weights once as float32: the same whatever the code does with them."""
    size = FLOAT_BYTES * int(bundle.manifest.model["parameters"])
    return size / read_bandwidth(size) * 1e6
