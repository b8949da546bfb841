"""The digest is BLAKE2b of everything a decision depended on, and of nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath import Bundle, Engine, RouteError
from turnout_fastpath.digest import blake2b_128, strands_128

from tests.fastpath import generated
from tests.fastpath.conftest import EngineMaker
from tests.fastpath.documents import Document, document
from tests.fastpath.twins.digest import GROUP, DigestInput, digest, strands
from tests.fastpath.twins.policy import needs_of
from tests.fastpath.twins.reading import Role
from tests.fastpath.twins.state import Live, State

NEED_BITS = {"json": 1, "json_schema": 2, "tools": 4, "image": 8, "audio": 16, "file": 32}
EXPLORING = document(explore=0.5)
Turns = Sequence[tuple[Role, str]]


def digest_input(turns: Turns, fields: dict[str, Any]) -> DigestInput:
    """A request's fields as the twin takes them."""
    known = {key: value for key, value in fields.items() if key in DigestInput.__dataclass_fields__}
    known["needs"] = sum(NEED_BITS[need] for need in needs_of(fields))
    if "answer_use" in fields:
        known["answer_use"] = generated.ANSWER_USES.index(fields["answer_use"])
    return DigestInput([(role, text.encode()) for role, text in turns], **known)


def revisions(engine: Engine) -> bytes:
    decision = engine.route("hello")
    return bytes.fromhex(decision.policy_revision + decision.bundle_revision + decision.features_revision)


@pytest.fixture(scope="module")
def exploring(varied_bundle: Bundle) -> tuple[Engine, State]:
    """An engine that explores, and its live state."""
    engine, state = Engine.load(varied_bundle, EXPLORING), State()
    block = engine.snapshot.state
    for name in ("mid-us", "frontier-eu", "elsewhere"):
        block.close_deployment(name, 3600)
        state.close_deployment(name, 3600)
    block.set_session("s1", 1, 3600, deployment="small-eu", warm_tokens=123)
    state.set_session("s1", 1, 3600, "small-eu", 123)
    block.set_session("s2", 2, 3600)
    state.set_session("s2", 2, 3600)
    block.set_budget_spent("acme", 3600)
    state.set_budget_spent("acme", 3600)
    return engine, state


@given(data=st.binary(max_size=1000), chunk=st.integers(0, 300))
def test_hash_equals_hashlib(data: bytes, chunk: int) -> None:
    assert blake2b_128(data, chunk) == hashlib.blake2b(data, digest_size=16).digest()


@pytest.mark.parametrize("size", [0, 1, 127, 128, 129, 255, 256, 257, 1 << 20])
def test_hash_at_the_edges_of_blocks(size: int) -> None:
    data = bytes(i % 251 for i in range(size))
    expected = hashlib.blake2b(data, digest_size=16).digest()
    assert {blake2b_128(data, chunk) for chunk in (0, 1, 127, 128, 129)} == {expected}


@given(groups=st.integers(1, 9), seed=st.integers(0, 2**32), vectors=st.booleans())
def test_strands_equal_hashlib(groups: int, seed: int, vectors: bool) -> None:
    data = Random(seed).randbytes(groups * GROUP)
    assert strands_128(data, vectors=vectors) == strands(data)


@pytest.mark.parametrize("size", [0, 511, 513])
def test_parts_of_a_group_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"{size} bytes, needed: a multiple of 512"):
        strands_128(bytes(size))


@pytest.mark.parametrize("size", [0, 120, 121, 1023, 1024, 1025, 1535, 1536, 5000])
def test_texts_at_the_edges_of_groups(engine_of: EngineMaker, size: int) -> None:
    engine = engine_of(document())
    text = ("twelve bytes" * 500)[:size]
    expected = digest(DigestInput([("user", text.encode())]), Live(), [], revisions(engine), None)
    assert engine.route(text).digest == expected


@given(
    seed=st.integers(0, 2**64),
    turns=st.lists(
        st.tuples(
            st.sampled_from(["user", "assistant", "system", "developer", "tool"]), st.text(max_size=80)
        ),
        min_size=1,
        max_size=10,
    ),
)
def test_digest_equals_the_twin(exploring: tuple[Engine, State], turns: Turns, seed: int) -> None:
    engine, state = exploring
    fields = generated.request_fields(Random(seed), EXPLORING)
    live = state.read(fields.get("session_id", ""), fields.get("tenant", ""))
    try:
        decision = engine.route(messages=turns, **fields)
    except RouteError:
        return
    decision_id = bytes.fromhex(fields["decision_id"]) if decision.propensity != 1 else None
    names = engine.snapshot.policies.deployment_names
    assert decision.digest == digest(digest_input(turns, fields), live, names, revisions(engine), decision_id)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "hello "},
        {"messages": [("system", "hello")]},
        {"messages": [("user", "hel"), ("user", "lo")]},
        {"tenant": "t"},
        {"user_tier": "t"},
        {"feature": "t"},
        {"session_id": "t"},
        {"labels": {"t": ""}},
        {"labels": {"": "t"}},
        {"policy": "default"},
        {"min_tier": "small"},
        {"max_tier": "frontier"},
        {"allowed_deployments": ["small-us"]},
        {"allowed_regions": ["us"]},
        {"allowed_regions": ["us", "eu"]},
        {"max_cost_usd": 1.0, "document": "priced"},
        {"quality_bar": 0.7},
        {"needs": ["json"]},
        {"n_tools": 1},
        {"tool_schema_bytes": 1},
        {"media_bytes": 1},
        {"expected_output_tokens": 1},
        {"context_tokens": 1},
        {"answer_use": "person"},
        {"rules_only": True},
    ],
    ids=",".join,
)
def test_every_field_is_in_the_digest(engine_of: EngineMaker, fields: dict[str, Any]) -> None:
    given_document = document()
    if fields.pop("document", None):
        given_document["prices"] = generated.PRICES
        for tier in given_document["tiers"]:
            for deployment in tier["chain"]:
                deployment["price"] = "cheap"
    engine = engine_of(given_document)
    fields = ({} if "messages" in fields else {"prompt": "hello"}) | fields
    assert engine.route(fields.pop("prompt", None), **fields).digest != engine.route("hello").digest


def test_what_a_decision_does_not_depend_on_is_not_in_the_digest(engine_of: EngineMaker) -> None:
    engine = engine_of()
    expected = engine.route("hello").digest
    engine.snapshot.state.set_session("other", 2, 60)
    engine.snapshot.state.set_budget_spent("other", 60)
    engine.snapshot.state.close_deployment("other", 60)
    assert engine.route("hello", decision_id="0" * 32).digest == expected
    assert engine.route("hello", explain=True).digest == expected
    assert engine.route(messages=[{"role": "user", "content": "hello"}]).digest == expected


def test_live_state_that_was_read_is_in_the_digest(engine_of: EngineMaker) -> None:
    engine = engine_of()
    fields: Any = {"session_id": "s", "tenant": "t"}
    digests = [engine.route("hello", **fields).digest]
    state = engine.snapshot.state
    changes = [
        partial(state.close_deployment, "mid-eu", 60),
        partial(state.set_session, "s", 0, 60),
        partial(state.set_session, "s", 0, 60, deployment="small-us"),
        partial(state.set_session, "s", 0, 60, deployment="small-us", warm_tokens=1),
        partial(state.set_budget_spent, "t", 60),
    ]
    for change in changes:
        change()
        digests.append(engine.route("hello", **fields).digest)
    assert len(set(digests)) == len(digests)


def test_decision_id_is_in_the_digest_where_it_seeded_the_decision(engine_of: EngineMaker) -> None:
    engine = engine_of(document(explore=0.5))
    digests = [engine.route("hello", decision_id=f"{i:032x}").digest for i in range(4)]
    assert len(set(digests)) == 4
    assert engine.route("hello", decision_id=f"{3:032x}").digest == digests[3]


@pytest.mark.parametrize("change", [document(safe_tier="small"), document(bars={"default": 0.71})])
def test_policy_and_bundle_are_in_the_digest(
    engine_of: EngineMaker, varied_bundle: Bundle, change: Document
) -> None:
    expected = engine_of().route("hello").digest
    assert engine_of(change).route("hello").digest != expected
    assert Engine.load(varied_bundle, document()).route("hello").digest != expected
    assert engine_of().route("hello").digest == expected
