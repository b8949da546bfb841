"""Parsing that never fails: bytes that are no message become an object that says which field is at fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)

# A larger message is read and decided in a thread: above this, text alone takes more than half a millisecond.
BULKY_BYTES = 64 * 1024
# A walk visits no more fields, so that millions of tiny ones cannot hold the process.
MAX_WALKED_FIELDS = 20_000

_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class Malformed(NamedTuple):
    """Bytes that are not the message.

    Attributes:
        field: path of the field at fault, such as "messages[3].content"; empty if none can be named.
        data: the bytes.
    """

    field: str
    data: bytes


class Bulky(Generic[M]):
    """A message that is too large to be handled on the event loop."""

    __slots__ = ("message",)

    def __init__(self, message: M) -> None:
        self.message = message


def parser(kind: type[M]) -> Callable[[bytes], M | Bulky[M] | Malformed]:
    """A request deserializer that raises nothing: grpc would answer an exception with INTERNAL."""
    from_string: Callable[[bytes], M] = kind.FromString

    def parse(data: bytes) -> M | Bulky[M] | Malformed:
        try:
            message = from_string(data)
        except DecodeError:
            return Malformed(find_fault(data, kind.DESCRIPTOR), data)
        return message if len(data) <= BULKY_BYTES else Bulky(message)

    return parse


def find_fault(data: bytes, descriptor: Any) -> str:
    """Path of the first field that is broken or whose text is not UTF-8; empty if none can be named."""
    return _Walk().message(memoryview(data), descriptor, "") or ""


def salvage_payloads(data: bytes, number: int) -> list[bytes]:
    """The payloads of a length-delimited field, in order, as far as the bytes are fields at all."""
    view = memoryview(data)
    found: list[bytes] = []
    try:
        at = 0
        while at < len(view) and len(found) < MAX_WALKED_FIELDS:
            tag, at = _read_varint(view, at)
            start, end = _skip(view, at, tag & 7)
            if tag >> 3 == number and tag & 7 == _BYTES:
                found.append(bytes(view[start:end]))
            at = end
    except _BrokenError:
        pass
    return found


class _BrokenError(Exception):
    """The bytes end too early, or are no field."""


class _Walk:
    """One pass over the wire form, after https://protobuf.dev/programming-guides/encoding."""

    def __init__(self) -> None:
        self.left = MAX_WALKED_FIELDS

    def message(self, view: memoryview, descriptor: Any, path: str) -> str | None:
        """Path of the first fault at or below `path`; None if there is none."""
        at = 0
        seen: dict[int, int] = {}
        known: str = path
        try:
            while at < len(view):
                if not self.left:
                    return known
                self.left -= 1
                tag, at = _read_varint(view, at)
                field = descriptor.fields_by_number.get(tag >> 3)
                if field is not None:
                    index = seen.get(tag >> 3, 0)
                    seen[tag >> 3] = index + 1
                    known = _join(path, field, index)
                start, end = _skip(view, at, tag & 7)
                if field is not None and tag & 7 == _BYTES:
                    fault = self.payload(view[start:end], field, known)
                    if fault is not None:
                        return fault
                known, at = path, end
        except _BrokenError:
            return known
        return None

    def payload(self, view: memoryview, field: FieldDescriptor, path: str) -> str | None:
        """Path of the first fault within a field's payload; None if there is none."""
        if field.type == FieldDescriptor.TYPE_STRING:
            return None if _is_utf8(view) else path
        if field.message_type is not None:
            fault = self.message(view, field.message_type, path)
            # A map's entry is no field of the contract.
            return path if fault and _is_map(field) else fault
        return None


def _join(path: str, field: FieldDescriptor, index: int) -> str:
    name = f"{path}.{field.name}" if path else field.name
    return f"{name}[{index}]" if field.is_repeated and not _is_map(field) else name


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _is_utf8(view: memoryview) -> bool:
    try:
        str(view, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _read_varint(view: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(view[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise _BrokenError


def _skip(view: memoryview, at: int, wire_type: int) -> tuple[int, int]:
    """Start and end of a field's payload, whose tag ends at `at`."""
    if wire_type == _VARINT:
        return at, _read_varint(view, at)[1]
    if wire_type == _BYTES:
        size, start = _read_varint(view, at)
        end = start + size
    elif wire_type in _FIXED_SIZES:
        start, end = at, at + _FIXED_SIZES[wire_type]
    else:
        # Groups: no message of the contract has one, and none of its writers makes one.
        raise _BrokenError
    if end > len(view):
        raise _BrokenError
    return start, end
