"""The live state block: what is written is read, by every process, until it expires or its table is full."""

from __future__ import annotations

import itertools
import math
import mmap
import os
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Engine, LiveState, StateBlock, StateError, compile_snapshot
from turnout_fastpath.breaker_table import BreakerTable
from turnout_fastpath.counter_table import CounterTable

from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import Document, deployment, document, tier
from tests.fastpath.twins.digest import DigestInput, digest
from tests.fastpath.twins.state import State, state_key

# The block's layout, see state.pxd: a header, then tables of 64-bit numbers.
HEADER = 64
DEPLOYMENTS, DEPLOYMENT = 256, 16
SESSION_SETS, BUDGET_SETS, WAYS = 16384, 1024, 4
SESSION, BUDGET = 40, 16
SESSIONS_AT = HEADER + DEPLOYMENTS * DEPLOYMENT
BUDGETS_AT = SESSIONS_AT + SESSION_SETS * WAYS * SESSION
BREAKERS_AT = BUDGETS_AT + BUDGET_SETS * WAYS * BUDGET
BREAKERS, BREAKER = 1024, 200
COUNTER_SETS, COUNTER_WAYS, COUNTER = 2048, 16, 64
SIZE = BREAKERS_AT + BREAKERS * BREAKER + COUNTER_SETS * (8 + COUNTER_WAYS * (COUNTER + 8))
BOOT_AT = 24
NAMES = ["small-us", "mid-eu", "frontier-us", "elsewhere"]
SESSIONS = ["s1", "s2", "ünï"]
TENANTS = ["acme", "globex"]


class RawBlock:
    """A state file as 64-bit numbers, to damage it."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self.mapping = mmap.mmap(file.fileno(), SIZE)

    def __getitem__(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.mapping, at)[0])

    def __setitem__(self, at: int, value: int) -> None:
        struct.pack_into("<Q", self.mapping, at, value)

    def session(self, name: str) -> int:
        """Offset of a session's entry: key, check, value, expiry, end of the warm cache."""
        key = state_key(name.encode())
        entries = [SESSIONS_AT + (key % SESSION_SETS * WAYS + way) * SESSION for way in range(WAYS)]
        return next(at for at in entries if self[at] == key)

    def budget(self, name: str) -> int:
        """Offset of a tenant's entry: key, expiry."""
        key = state_key(name.encode())
        entries = [BUDGETS_AT + (key % BUDGET_SETS * WAYS + way) * BUDGET for way in range(WAYS)]
        return next(at for at in entries if self[at] == key)

    def deployment(self, name: str) -> int:
        """Offset of a deployment's entry: key, closed until."""
        key = state_key(name.encode())
        return next(at for at in range(HEADER, SESSIONS_AT, DEPLOYMENT) if self[at] == key)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def shared(engine_of: EngineMaker, path: Path) -> tuple[Engine, StateBlock, RawBlock]:
    """An engine over a state file, the block opened a second time, and its bytes."""
    engine = engine_of(state=path)
    return engine, StateBlock(path), RawBlock(path)


def live(engine: Engine, session: str = "", tenant: str = "") -> LiveState:
    return engine.route("hello", session_id=session, tenant=tenant).live_state


def colliding(sets: int, n: int) -> list[str]:
    """As many names whose entries fall into one set."""
    by_set: dict[int, list[str]] = defaultdict(list)
    for number in itertools.count():
        name = f"n{number}"
        found = by_set[state_key(name.encode()) % sets]
        found.append(name)
        if len(found) == n:
            return found
    raise AssertionError


Operation = tuple[str, tuple[Any, ...]]
SECONDS = st.sampled_from([3600.0, 1e9, math.inf, 0.0, -5.0, math.nan])
OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("close_deployment"), st.tuples(st.sampled_from(NAMES), SECONDS)),
    st.tuples(st.just("extend_closing"), st.tuples(st.sampled_from(NAMES), SECONDS)),
    st.tuples(
        st.just("set_session"),
        st.tuples(
            st.sampled_from(SESSIONS),
            st.integers(0, 7),
            SECONDS,
            st.none() | st.sampled_from(NAMES),
            st.integers(0, 2**32 - 1),
            st.none() | SECONDS,
        ),
    ),
    st.tuples(st.just("set_budget_spent"), st.tuples(st.sampled_from(TENANTS), SECONDS)),
)


def until(seconds: float) -> float:
    """When an entry of so many seconds ends, where now is 0."""
    return seconds if seconds > 0 else 0


@given(operations=st.lists(OPERATIONS, max_size=20))
def test_block_holds_what_the_dictionaries_hold(engine_of: EngineMaker, operations: list[Operation]) -> None:
    bundle, policy = engine_of().snapshot.bundle, document()
    block, state = StateBlock(), State()
    engine = Engine(compile_snapshot(bundle, policy, block))
    for name, arguments in operations:
        if name == "set_session":
            session, number, seconds, warm_at, warm_tokens, warm_s = arguments
            block.set_session(
                session, number, seconds, deployment=warm_at, warm_tokens=warm_tokens, warm_seconds=warm_s
            )
            warm_until = None if warm_s is None else until(warm_s)
            state.set_session(session, number, until(seconds), warm_at, warm_tokens, warm_until)
        elif name == "extend_closing":
            subject, seconds = arguments
            block.close_deployment(subject, seconds, extend=True)
            state.extend_closing(subject, until(seconds))
        else:
            subject, seconds = arguments
            getattr(block, name)(subject, seconds)
            getattr(state, name)(subject, until(seconds))
    assert {name for name in NAMES if block.is_closed(name)} == state.read().closed
    names = engine.snapshot.policies.deployment_names
    tiers = engine.snapshot.policies.tier_names
    for session, tenant in itertools.product([*SESSIONS, ""], [*TENANTS, ""]):
        expected = state.read(session, tenant)
        if expected.session_deployment not in names:
            expected = replace(expected, session_deployment=None)
        decision = engine.route("hello", session_id=session, tenant=tenant)
        found = decision.live_state
        assert set(found.closed_deployments) == expected.closed & set(names)
        tier_name = "" if expected.session_tier is None else tiers[min(expected.session_tier, 2)]
        assert (found.session_tier, found.budget_spent) == (tier_name, expected.budget_spent)
        # The digest holds the warm cache too.
        revisions = decision.policy_revision + decision.bundle_revision + decision.features_revision
        asked = DigestInput([("user", b"hello")], session_id=session, tenant=tenant)
        assert decision.digest == digest(asked, expected, names, bytes.fromhex(revisions), None)


def test_processes_share_a_file(shared: tuple[Engine, StateBlock, RawBlock], path: Path) -> None:
    engine, _, _ = shared
    assert live(engine, "s", "t") == LiveState((), "", False)
    script = """
import sys
from turnout_fastpath import StateBlock
block = StateBlock(sys.argv[1])
block.close_deployment("mid-us", 60)
block.set_session("s", 1, 60)
block.set_budget_spent("t", 60)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=True, timeout=60)
    assert live(engine, "s", "t") == LiveState(("mid-us",), "mid", True)


def test_a_process_reads_what_was_written_before_it_began(engine_of: EngineMaker, path: Path) -> None:
    StateBlock(path).close_deployment("small-eu", 60)
    assert live(engine_of(state=path)).closed_deployments == ("small-eu",)


def test_private_blocks_are_apart(engine_of: EngineMaker) -> None:
    one, other = engine_of(), engine_of()
    one.snapshot.state.close_deployment("small-us", 60)
    assert live(other).closed_deployments == ()
    assert one.snapshot.state.path is None


def test_entries_end_when_their_time_is_over(shared: tuple[Engine, StateBlock, RawBlock]) -> None:
    engine, block, raw = shared
    block.close_deployment("mid-us", 60)
    block.set_session("s", 1, 60)
    block.set_budget_spent("t", 60)
    assert live(engine, "s", "t") == LiveState(("mid-us",), "mid", True)
    raw[raw.deployment("mid-us") + 8] = 1
    assert live(engine, "s", "t") == LiveState((), "mid", True)
    raw[raw.session("s") + 24] = 1
    assert live(engine, "s", "t") == LiveState((), "", True)
    raw[raw.budget("t") + 8] = 1
    assert live(engine, "s", "t") == LiveState((), "", False)


@pytest.mark.parametrize("field", [8, 16], ids=["check", "value"])
def test_a_torn_session_reads_as_absent(shared: tuple[Engine, StateBlock, RawBlock], field: int) -> None:
    engine, block, raw = shared
    block.set_session("s", 2, 60)
    at = raw.session("s") + field
    whole = raw[at]
    raw[at] = whole ^ 1
    assert live(engine, "s").session_tier == ""
    raw[at] = whole
    assert live(engine, "s").session_tier == "frontier"


def test_a_session_under_anothers_key_reads_as_absent(shared: tuple[Engine, StateBlock, RawBlock]) -> None:
    engine, block, raw = shared
    one, other = colliding(SESSION_SETS, 2)
    block.set_session(one, 2, 60)
    # As if the writer of `other` had come no further than the key.
    raw[raw.session(one)] = state_key(other.encode())
    assert live(engine, other).session_tier == live(engine, one).session_tier == ""


def test_a_full_set_of_sessions_forgets_the_one_that_ends_first(
    shared: tuple[Engine, StateBlock, RawBlock],
) -> None:
    engine, block, _ = shared
    *names, more = colliding(SESSION_SETS, WAYS + 1)
    for i, name in enumerate(names):
        block.set_session(name, i % 3, 100 - i)
    assert [live(engine, name).session_tier for name in names] == ["small", "mid", "frontier", "small"]
    block.set_session(more, 1, 60)
    assert [live(engine, name).session_tier for name in [*names, more]] == [
        "small",
        "mid",
        "frontier",
        "",
        "mid",
    ]
    block.set_session(names[0], 2, 60)
    assert [live(engine, name).session_tier for name in [*names, more]] == [
        "frontier",
        "mid",
        "frontier",
        "",
        "mid",
    ]


def test_a_full_set_of_budgets_forgets_the_one_that_ends_first(
    shared: tuple[Engine, StateBlock, RawBlock],
) -> None:
    engine, block, _ = shared
    *names, more = colliding(BUDGET_SETS, WAYS + 1)
    for i, name in enumerate(names):
        block.set_budget_spent(name, 100 - i)
    block.set_budget_spent(more, 60)
    assert [live(engine, tenant=name).budget_spent for name in [*names, more]] == [
        True,
        True,
        True,
        False,
        True,
    ]
    block.set_budget_spent(names[1], 0)
    assert not live(engine, tenant=names[1]).budget_spent


def test_looking_takes_no_place(path: Path) -> None:
    block, raw = StateBlock(path), RawBlock(path)
    assert not block.is_closed("d")
    assert not any(raw[at] for at in range(HEADER, SESSIONS_AT, DEPLOYMENT))


def test_a_cold_cache_is_no_longer_counted(engine_of: EngineMaker) -> None:
    engine = engine_of()
    engine.snapshot.state.set_session("s", 1, 60, deployment="mid-us", warm_tokens=500, warm_seconds=0)
    engine.snapshot.state.set_session("w", 1, 60, deployment="mid-us", warm_tokens=500, warm_seconds=30)
    digests = {name: engine.route("hello", session_id=name).digest for name in "sw"}
    engine.snapshot.state.set_session("s", 1, 60, deployment="mid-us")
    engine.snapshot.state.set_session("w", 1, 60, deployment="mid-us")
    assert engine.route("hello", session_id="s").digest == digests["s"]
    assert engine.route("hello", session_id="w").digest != digests["w"]


def test_a_full_table_of_deployments_says_so_and_decisions_go_on(engine_of: EngineMaker, path: Path) -> None:
    block = StateBlock(path)
    for i in range(DEPLOYMENTS):
        block.close_deployment(f"d{i}", 60)
    block.close_deployment("d7", 60)
    with pytest.raises(StateError, match="the state block holds 256 deployments; no room for 'one-more'"):
        block.close_deployment("one-more", 60)
    assert not block.is_closed("one-more")
    engine = engine_of(state=path)
    block.set_session("s", 1, 60, deployment="small-us", warm_tokens=5)
    assert live(engine, "s") == LiveState((), "mid", False)


def test_all_deployments_of_a_policy_may_be_closed(engine_of: EngineMaker) -> None:
    def chain(name: str, n: int) -> Iterator[Document]:
        return (deployment(f"{name}{i}") for i in range(n))

    tiers = [tier("small", "small", *chain("s", 128)), tier("top", None, *chain("t", 128))]
    engine = engine_of(document(tiers=tiers, safe_tier="top"))
    for name in engine.snapshot.policies.deployment_names:
        engine.snapshot.state.close_deployment(name, 60)
    assert len(live(engine).closed_deployments) == 256
    engine.snapshot.state.open_deployment("t127")
    assert engine.route("hello", allowed_deployments=["t126", "t127"]).deployment == "t127"


@pytest.mark.parametrize("seconds", [math.inf, 1e300, 1e15])
def test_for_ever_is_a_long_time(engine_of: EngineMaker, seconds: float) -> None:
    engine = engine_of()
    engine.snapshot.state.close_deployment("small-us", seconds)
    assert live(engine).closed_deployments == ("small-us",)


@pytest.mark.parametrize("number", [-1, 8])
def test_tier_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(StateError, match=f"tier is {number}, needed: 0 to 7"):
        StateBlock().set_session("s", number, 60)


def test_file_is_made_for_its_owner_alone(path: Path) -> None:
    assert StateBlock(path).path == str(path)
    assert path.stat().st_size == SIZE
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("size", [1, SIZE - 1, SIZE + 1])
def test_file_of_another_size_is_refused_and_kept(path: Path, size: int) -> None:
    path.write_bytes(b"x" * size)
    with pytest.raises(StateError, match=f"{path} has {size} bytes, needed: {SIZE}"):
        StateBlock(path)
    assert path.read_bytes() == b"x" * size


@pytest.mark.parametrize(
    ("field", "said"),
    [
        (0, "no state block of version 3"),
        (8, "a state block of version 99, this process has"),
        (16, "no state block"),
    ],
    ids=["magic", "version", "size"],
)
def test_file_of_another_layout_is_refused(path: Path, field: int, said: str) -> None:
    StateBlock(path)
    RawBlock(path)[field] = 99
    with pytest.raises(StateError, match=f"{path} is {said}"):
        StateBlock(path)


def test_file_of_an_earlier_layout_is_refused_with_its_version(path: Path) -> None:
    magic = 0x4554415453524E54
    path.write_bytes(struct.pack("<QQQ", magic, 2, SIZE - 8) + bytes(SIZE - 32))
    with pytest.raises(StateError, match="is a state block of version 2, this process has version 3; end"):
        StateBlock(path)


def test_monotonic_times_of_another_boot_are_forgotten_and_counters_stay(
    shared: tuple[Engine, StateBlock, RawBlock], path: Path
) -> None:
    engine, block, raw = shared
    block.close_deployment("mid-us", 1e9)
    block.set_session("s", 1, 1e9)
    block.set_budget_spent("t", 1e9)
    breakers, counters = BreakerTable(block), CounterTable(block)
    breakers.pause(breakers.slot("mid-us"), 2**60)
    counters.reserve("t", 5, 10, begins_ms=0, ends_ms=86_400_000, now_ms=1)
    StateBlock(path)
    assert live(engine, "s", "t") == LiveState(("mid-us",), "mid", True)
    raw[BOOT_AT] ^= 1
    again = StateBlock(path)
    assert live(engine, "s", "t") == LiveState((), "", False)
    assert BreakerTable(again).paused_until_ms(breakers.slot("mid-us")) == 0
    assert CounterTable(again).used("t", begins_ms=0, now_ms=1) == 5


def test_folder_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        StateBlock(tmp_path / "nowhere/state")
