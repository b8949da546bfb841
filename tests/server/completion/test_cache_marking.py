"""Marks for prompt caches: where they stand, by a reference, and what arrives on each wire."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.v1 import chat_pb2
from turnout.v1.completion_pb2 import CompleteRequest
from turnout_server.completion.cache_marking import CacheRules, mark_prefixes
from turnout_server.providers.chat import CacheLifetime, ChatRequest, Message, Role, TextPart, Tool

from tests.faults import Wire
from tests.server.completion.wall import walled as walled_with_limits

walled = partial(walled_with_limits, first_token_s=10.0)
ON = CacheRules(enabled=True)
LEAST_BYTES = 4096
LONG = "The line ends at the buffer stop. " * 121
SHORT = "Where does it end?"
assert len(LONG) >= LEAST_BYTES

TURNS = st.lists(
    st.tuples(st.sampled_from(list(Role)), st.sampled_from([1, 100, 2000, 4096])), min_size=1, max_size=9
)


def conversation(turns: list[tuple[Role, int]]) -> ChatRequest:
    return ChatRequest(tuple(Message.of(role, "x" * size) for role, size in turns))


@given(TURNS)
def test_marks_stand_where_the_reference_puts_them(turns: list[tuple[Role, int]]) -> None:
    chat = conversation(turns)
    marked = mark_prefixes(chat, ON)
    system = sum(size for role, size in turns if role in (Role.SYSTEM, Role.DEVELOPER))
    expected = []
    for index, (role, _) in enumerate(turns[:-1]):
        before = sum(size for role, size in turns[: index + 1] if role not in (Role.SYSTEM, Role.DEVELOPER))
        if role is Role.ASSISTANT and system + before >= LEAST_BYTES:
            expected.append(index)
    assert [i for i, message in enumerate(marked.messages) if message.cache] == expected[-2:]
    assert (marked.cache_prefix is not None) is (system >= LEAST_BYTES)
    assert bool(marked.cache_key) is (bool(expected) or system >= LEAST_BYTES)
    # Nothing but marks is changed.
    assert (
        replace(
            marked,
            messages=tuple(replace(message, cache=None) for message in marked.messages),
            cache_prefix=None,
            cache_key="",
        )
        == chat
    )


@pytest.mark.parametrize(
    "own",
    [
        {"cache_prefix": CacheLifetime.ONE_HOUR},
        {"cache_key": "mine"},
        {"messages": (Message(Role.SYSTEM, (TextPart(LONG, CacheLifetime.FIVE_MINUTES),)),)},
        {"messages": (Message(Role.SYSTEM, (TextPart(LONG),), cache=CacheLifetime.FIVE_MINUTES),)},
    ],
    ids=["prefix", "key", "part", "message"],
)
def test_what_the_caller_has_marked_is_left_alone(own: dict[str, Any]) -> None:
    chat = replace(conversation([(Role.SYSTEM, 9000), (Role.USER, 9)]), **own)
    assert mark_prefixes(chat, ON) is chat


def test_nothing_is_marked_unless_the_policy_says_so() -> None:
    chat = conversation([(Role.SYSTEM, 9000), (Role.USER, 9)])
    assert mark_prefixes(chat, CacheRules()) is chat


def test_tools_count_and_equal_prefixes_have_equal_keys() -> None:
    tools = (Tool("find", LONG),)
    one, other = (
        mark_prefixes(ChatRequest((Message.of(Role.USER, text),), tools), ON) for text in ("A?", "B?")
    )
    assert one.cache_prefix is CacheLifetime.FIVE_MINUTES
    assert one.cache_key == other.cache_key != ""
    changed = mark_prefixes(ChatRequest((Message.of(Role.USER, "A?"),), (Tool("find", LONG + "!"),)), ON)
    assert changed.cache_key != one.cache_key


def test_a_conversation_keeps_its_key() -> None:
    turns = [(Role.USER, 5000), (Role.ASSISTANT, 50), (Role.USER, 50)]
    longer = [*turns, (Role.ASSISTANT, 60), (Role.USER, 70)]
    assert (
        mark_prefixes(conversation(turns), ON).cache_key == mark_prefixes(conversation(longer), ON).cache_key
    )


def ask(*, own_marker: bool = False) -> CompleteRequest:
    request = CompleteRequest()
    request.messages.add(role=chat_pb2.ROLE_SYSTEM, content=LONG)
    for role, text in (
        (chat_pb2.ROLE_USER, SHORT),
        (chat_pb2.ROLE_ASSISTANT, "At the stop."),
        (chat_pb2.ROLE_USER, SHORT),
        (chat_pb2.ROLE_ASSISTANT, "There."),
        (chat_pb2.ROLE_USER, "And then?"),
    ):
        request.messages.add(role=role, content=text)
    request.messages[1].cache_marker = own_marker
    request.tools.add(name="find", description="Finds.", parameters_json_schema='{"type":"object"}')
    return request


async def sent(
    folder: Path, bundle: Path, wire: Wire, request: CompleteRequest, **cache: Any
) -> dict[str, Any]:
    """The body that the upstream sees."""
    async with walled(folder, bundle, ["ordinary.small"], wire=wire, policy={"prompt_cache": cache}) as wall:
        outcome = await wall.ask(request)
        assert outcome.whole, (outcome.code, outcome.reason, outcome.metadata)
        [seen] = wall.upstream.ledger.of("ordinary.small")
        assert not seen.complaint
        return dict(seen.body)


async def test_anthropic_gets_markers(tmp_path: Path, bundle: Path, log: object) -> None:
    body = await sent(tmp_path, bundle, Wire.ANTHROPIC, ask(), enabled=True, lifetime="1h")
    marker = {"type": "ephemeral", "ttl": "1h"}
    assert body["system"][-1]["cache_control"] == marker
    marked = [
        (index, block["cache_control"])
        for index, turn in enumerate(body["messages"])
        for block in turn["content"]
        if "cache_control" in block
    ]
    assert marked == [(1, marker), (3, marker)]
    assert json.dumps(body).count("cache_control") == 3


async def test_openai_gets_a_key(tmp_path: Path, bundle: Path, log: object) -> None:
    body = await sent(tmp_path, bundle, Wire.OPENAI, ask(), enabled=True)
    assert len(body["prompt_cache_key"]) == 32
    assert "cache_control" not in json.dumps(body)


@pytest.mark.parametrize("wire", list(Wire))
async def test_no_wire_gets_marks_unasked(wire: Wire, tmp_path: Path, bundle: Path, log: object) -> None:
    body = await sent(tmp_path, bundle, wire, ask())
    assert "cache_control" not in json.dumps(body)
    assert "prompt_cache_key" not in body


async def test_the_callers_own_marker_is_the_only_one(tmp_path: Path, bundle: Path, log: object) -> None:
    body = await sent(tmp_path, bundle, Wire.ANTHROPIC, ask(own_marker=True), enabled=True)
    assert json.dumps(body).count("cache_control") == 1
    assert body["messages"][0]["content"][-1]["cache_control"] == {"type": "ephemeral"}
