"""RouteRequests as bytes: ordinary ones, and soups of fields that are legal, odd or broken."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from turnout.v1 import chat_pb2, routing_pb2
from turnout.v1.routing_pb2 import RouteRequest

from tests.fastpath import generated

TEXTS = [
    "",
    "hello",
    "write a python function that sorts a list",
    "¿Qué hora es?",
    "中文字符",
    "\ufffd",
    "a\x00b",
    "😀" * 5,
    "x" * 300,
    "why " * 100,
]
NAMES = ["", "acme", "small", "mid", "small-us", "eu", "default", "n" * 256, "n" * 257, "ünïcode"]
URIS = ["https://a.b/c.png", "http://a.b", "", "https://" + "x" * 5000]
DOUBLES = [0.0, -0.0, 0.5, 1.0, 1.5, -1.0, 1e-9, float("inf"), float("nan"), 3.0]
NUMBERS = [0, 1, 4, 5, 7, 127, 128, 1_000_000, 1_000_001, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1]
WIRE_TYPES = {
    FieldDescriptor.TYPE_DOUBLE: 1,
    FieldDescriptor.TYPE_STRING: 2,
    FieldDescriptor.TYPE_BYTES: 2,
    FieldDescriptor.TYPE_MESSAGE: 2,
}


def ordinary_request(random: Random) -> RouteRequest:
    """What a caller with generated code sends: within every limit, each singular field at most once."""
    request = RouteRequest()
    if random.random() < 0.4:
        request.prompt = random.choice(TEXTS)
    else:
        for _ in range(random.choice([1, 1, 2, 3, 12])):
            _fill_message(random, request.messages.add())
    if random.random() < 0.5:
        caller = request.caller
        caller.tenant, caller.feature = random.choice(generated.TENANTS), random.choice(NAMES[:8])
        caller.session_id, caller.user_tier = random.choice(["", "s-1"]), random.choice(["", "pro"])
        for i in range(random.choice([0, 1, 3, 32])):
            caller.labels[f"{random.choice('abc')}{i}"] = random.choice(NAMES[:8])
    if random.random() < 0.5:
        constraints = request.constraints
        constraints.min_tier, constraints.max_tier = (random.choice(["", "small", "mid"]) for _ in range(2))
        constraints.allowed_deployments.extend(
            random.choices(["small-us", "mid-eu", "nowhere", ""], k=random.choice([0, 0, 2]))
        )
        constraints.allowed_regions.extend(random.choices(["us", "eu"], k=random.choice([0, 0, 1])))
        if random.random() < 0.3:
            constraints.max_cost_usd = random.choice([1e-6, 0.01, 5.0])
        if random.random() < 0.3:
            constraints.quality_bar = random.choice([0.0, -0.0, 0.7, 1.0])
    if random.random() < 0.5:
        _fill_requirements(random, request.requirements)
    request.policy = random.choice(["", "", "default", "hasty", "unknown"])
    if random.random() < 0.3:
        request.decision_id = random.randbytes(16).hex()
    return request


def _fill_message(random: Random, message: chat_pb2.ChatMessage) -> None:
    message.role = random.choice([0, 1, 1, 1, 2, 3, 4, 5, 9, -1])  # type: ignore[assignment]
    message.content = random.choice(TEXTS)
    for _ in range(random.choice([0, 0, 0, 1, 3])):
        part = message.parts.add()
        kind = random.choice(["text", "image", "audio", "file", None])
        if kind == "text":
            part.text = random.choice(TEXTS)
        elif kind is not None:
            media = getattr(part, kind)
            media.media_type = "image/png"
            if random.random() < 0.5:
                media.data = random.randbytes(random.choice([0, 5, 100]))
            elif random.random() < 0.5:
                media.uri = URIS[0]
        part.cache_marker = random.random() < 0.2
    message.name = random.choice(["", "ann"])
    message.tool_call_id = random.choice(["", "call-1"])
    for _ in range(random.choice([0, 0, 2])):
        message.tool_calls.add(id="1", name="f", arguments_json=random.choice(TEXTS))


def _fill_requirements(random: Random, requirements: routing_pb2.OutputRequirements) -> None:
    kind = random.choice(["json_object", "json_schema", None])
    if kind == "json_object":
        requirements.response_format.json_object.SetInParent()
    elif kind is not None:
        schema = requirements.response_format.json_schema
        schema.name, schema.schema_json, schema.strict = "n", '{"type": "object"}', True
    for i in range(random.choice([0, 0, 1, 3, 40])):
        requirements.tools.add(name=f"tool{i}", description="does", parameters_json_schema="{}")
    requirements.expected_output_tokens = random.choice([0, 10, 1_000_000])
    requirements.context_tokens = random.choice([0, 1000])
    requirements.answer_use = random.choice([0, 1, 4, 77, -1])  # type: ignore[assignment]


def soup(random: Random, descriptor: Descriptor = RouteRequest.DESCRIPTOR, depth: int = 0) -> bytes:
    """Fields of a message in any order and number, most as the contract has them."""
    out = b""
    for _ in range(random.choice([0, 1, 2, 3, 5])):
        # JsonObjectFormat has no field.
        if not descriptor.fields or random.random() < 0.04:
            out += _stray(random)
        else:
            out += _field(random, random.choice(descriptor.fields), depth)
    return out


def damaged(random: Random, data: bytes) -> bytes:
    """Bytes with some changed, cut or doubled."""
    raw = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 4])):
        at = random.randrange(len(raw) + 1)
        match random.randrange(5):
            case 0 if at < len(raw):
                raw[at] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
            case 1:
                del raw[at : at + random.choice([1, 1, 3, 20])]
            case 2:
                raw[at:at] = random.randbytes(random.choice([1, 2, 10]))
            case 3:
                raw[at:at] = raw[at : at + random.choice([2, 8, 40])]
            case _:
                del raw[at:]
    return bytes(raw)


def _varint(value: int, padding: int = 0) -> bytes:
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        if value or padding:
            out.append(low | 0x80)
            if not value:
                out += b"\x80" * (padding - 1) + b"\0"
                return bytes(out)
        else:
            out.append(low)
            return bytes(out)


def _tagged(random: Random, number: int, wire_type: int, payload: bytes) -> bytes:
    padding = random.choice([0] * 30 + [1, 3, 9])
    return _varint(number << 3 | wire_type, padding) + payload


def _sized(random: Random, payload: bytes) -> bytes:
    padding = random.choice([0] * 30 + [1, 4, 8])
    return _varint(len(payload), padding) + payload


def _field(random: Random, field: FieldDescriptor, depth: int) -> bytes:
    wire_type = WIRE_TYPES.get(field.type, 0)
    if random.random() < 0.02:
        wire_type = random.randrange(8)
    if wire_type == 2:
        return _tagged(random, field.number, 2, _sized(random, _payload(random, field, depth)))
    if wire_type == 1:
        return _tagged(random, field.number, 1, struct.pack("<d", random.choice(DOUBLES)))
    if wire_type == 5:
        return _tagged(random, field.number, 5, random.randbytes(4))
    if wire_type in (3, 4):
        return _tagged(random, field.number, 3, b"") + _tagged(random, field.number, 4, b"")
    return _tagged(
        random, field.number, wire_type, _varint(random.choice(NUMBERS), random.choice([0] * 9 + [2]))
    )


def _payload(random: Random, field: FieldDescriptor, depth: int) -> bytes:
    if field.message_type is not None and depth < 6:
        return soup(random, field.message_type, depth + 1)
    choices: dict[str, Callable[[], Any]] = {
        "uri": lambda: random.choice(URIS),
        "decision_id": lambda: random.choice([random.randbytes(16).hex(), "ABC", "g" * 32]),
        "prompt": lambda: random.choice(TEXTS),
        "content": lambda: random.choice(TEXTS),
        "text": lambda: random.choice(TEXTS),
    }
    text = choices.get(field.name, lambda: random.choice(NAMES))().encode()
    if random.random() < 0.03:
        text += random.choice([b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"])
    return bytes(text)


def _stray(random: Random) -> bytes:
    """A field that the contract does not have, or none at all."""
    number = random.choice([0, 15, 16, 99, 2**29 - 1, 2**29])
    match random.randrange(4):
        case 0:
            return _tagged(random, number, 0, _varint(random.choice(NUMBERS)))
        case 1:
            return _tagged(random, number, 2, _sized(random, random.randbytes(5)))
        case 2:
            inner = _tagged(random, 3, 0, b"\x01")
            return _tagged(random, number, 3, inner) + _tagged(random, number, random.choice([4, 4, 3]), b"")
        case _:
            return _tagged(random, number, 1, random.randbytes(random.choice([8, 8, 7])))
