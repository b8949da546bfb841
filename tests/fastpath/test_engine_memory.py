"""A decision costs no Python memory but its result, and nothing is kept of it."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from turnout_fastpath import Bundle, Engine, Request, RouteError, StateBlock, compile_snapshot

from tests.fastpath.documents import bucket, document, rule

PAGE = os.sysconf("SC_PAGE_SIZE")
POLICY = document(
    rules=[rule(f"rule-{i}", {"keywords": [f"word{i}", "poem"]}, {"bar": 0.5}) for i in range(20)],
    buckets=[bucket("hard", ["prove the sum"], floor="mid")],
    explore=0.2,
)
TEXTS = {
    "short": "hello",
    "long": "Write a poem of the sea, and prove the sum of it. " * 2000,
    "odd": "日本語 \0 naïve 😀 " * 500,
    "empty": "",
}


@pytest.fixture(scope="module")
def engine(real_bundle: Bundle) -> Engine:
    return Engine.load(real_bundle, POLICY)


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


@pytest.mark.parametrize("name", TEXTS)
def test_a_decision_allocates_its_result_and_nothing_else(engine: Engine, name: str) -> None:
    request = Request(TEXTS[name], session_id="s", tenant="t", labels={"a": "b"})
    engine.decide(request)
    gc.collect()
    tracemalloc.start()
    try:
        engine.decide(request)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        decision = engine.decide(request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The result with its collector's header, and the two numbers above.
    assert peak - before < sys.getsizeof(decision) + 200


def test_decisions_leave_no_python_blocks(engine: Engine) -> None:
    requests = [Request(text) for text in TEXTS.values()]
    kept = [engine.decide(request) for request in requests]
    gc.collect()
    before = sys.getallocatedblocks()
    for _ in range(500):
        for request in requests:
            engine.decide(request)
    assert sys.getallocatedblocks() - before < 50
    results = [engine.decide(requests[0]) for _ in range(1000)]
    # One block a result at most; the list of them is one more.
    assert sys.getallocatedblocks() - before <= 1000 + 50
    assert len(kept) + len(results) == 1004


def growth(run: Callable[[], object], rounds: int) -> int:
    """Bytes that the process grew by over the rounds, after a tenth of them as warm-up."""
    for _ in range(rounds // 10):
        run()
    gc.collect()
    before = resident_bytes()
    for _ in range(rounds):
        run()
    gc.collect()
    return resident_bytes() - before


def test_memory_does_not_grow_over_decisions(engine: Engine) -> None:
    prompts = [TEXTS["short"], TEXTS["odd"], TEXTS["long"][:2000], ""]
    state = iter(range(10**9))

    def run() -> None:
        i = next(state)
        engine.route(f"{prompts[i % 4]} {i}", session_id=f"s{i}", labels={"n": str(i)})

    assert growth(run, 20_000) < 2 << 20


@pytest.mark.parametrize("case", ["explained", "refused", "batches"])
def test_memory_does_not_grow_over_other_calls(engine: Engine, case: str) -> None:
    def explained() -> None:
        engine.route("write a poem", explain=True)

    def refused() -> None:
        with pytest.raises(RouteError):
            engine.route(messages=[("user", "hello")] * 100, min_tier="none")

    def batches() -> None:
        engine.route_many(["hello"] * 20)

    assert growth({"explained": explained, "refused": refused, "batches": batches}[case], 2000) < 2 << 20


def test_snapshots_that_are_replaced_are_freed(varied_bundle: Bundle) -> None:
    engine = Engine.load(varied_bundle, POLICY)

    def run() -> None:
        engine.install(compile_snapshot(varied_bundle, POLICY, engine.snapshot.state))
        engine.route("hello")

    # A snapshot holds half a megabyte and more: a worker's cache alone has 4,096 lines of 64 bytes.
    assert growth(run, 300) < 8 << 20


def test_state_blocks_are_unmapped(tmp_path: Path) -> None:
    def mappings() -> int:
        return Path("/proc/self/maps").read_text().count(str(tmp_path / "state"))

    for _ in range(20):
        StateBlock(tmp_path / "state").close_deployment("d", 60)
    gc.collect()
    assert mappings() == 0
