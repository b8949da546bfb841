"""The messages of `envoy.service.ext_proc.v3`, of which each request brings several, without protobuf objects."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.compiled.protobuf cimport *

from envoy.service.ext_proc.v3.external_processor_pb2 import ProcessingRequest

# Field numbers of envoy/service/ext_proc/v3/external_processor.proto and config/core/v3/base.proto, by message.
cdef enum:
    REQUEST_REQUEST_HEADERS = 2
    REQUEST_RESPONSE_HEADERS = 3
    REQUEST_REQUEST_BODY = 4
    REQUEST_RESPONSE_BODY = 5
    REQUEST_REQUEST_TRAILERS = 6
    REQUEST_RESPONSE_TRAILERS = 7
    REQUEST_OBSERVABILITY_MODE = 10

    HTTP_HEADERS_HEADERS = 1
    HTTP_HEADERS_END_OF_STREAM = 3
    HTTP_BODY_BODY = 1
    HTTP_BODY_END_OF_STREAM = 2
    HEADER_MAP_HEADERS = 1
    HEADER_VALUE_KEY = 1
    HEADER_VALUE_VALUE = 2
    HEADER_VALUE_RAW_VALUE = 3

    RESPONSE_REQUEST_BODY = 3
    BODY_RESPONSE_RESPONSE = 1
    COMMON_HEADER_MUTATION = 2
    COMMON_BODY_MUTATION = 3
    COMMON_CLEAR_ROUTE_CACHE = 5
    HEADER_MUTATION_SET_HEADERS = 1
    BODY_MUTATION_BODY = 1
    OPTION_HEADER = 1
    OPTION_APPEND_ACTION = 3

    OVERWRITE_IF_EXISTS_OR_ADD = 2
    # A field's tag and the length of what it holds.
    MAX_LEAD_BYTES = 6


# What is read of any headers: pseudo-headers, and how the body is.
cdef slice_t pseudo
pseudo.data = b":"
pseudo.size = 1
cdef slice_t content
content.data = b"content-"
content.size = 8


cdef class Message:
    cdef readonly int kind
    cdef readonly bint is_observed
    cdef readonly bint end_of_stream
    cdef readonly bytes body
    cdef readonly dict headers
    cdef readonly dict named


cdef slice_t slice_of(bytes text):
    cdef slice_t slice
    slice.data = PyBytes_AS_STRING(text)
    slice.size = PyBytes_GET_SIZE(text)
    return slice


def read_message(bytes message not None, bytes prefix not None):
    cdef Message found = read_plain(message, prefix)
    if found is None:
        # Legal and odd, or broken: written anew by the library, which has nothing odd in it.
        asked = ProcessingRequest.FromString(message)
        asked.DiscardUnknownFields()
        found = read_plain(asked.SerializeToString(), prefix)
    return found


cdef inline bint begins_with(slice_t text, slice_t prefix) noexcept nogil:
    return text.size >= prefix.size and memcmp(text.data, prefix.data, prefix.size) == 0


# None for what the protobuf library must read.
cdef Message read_plain(bytes message, bytes prefix):
    cdef Message found = Message.__new__(Message)
    cdef cursor_t cursor = cursor_of(slice_of(message))
    cdef field_t field
    cdef int code
    found.body = b""
    found.headers = {}
    found.named = {}
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.number == REQUEST_OBSERVABILITY_MODE and field.wire_type == WIRE_VARINT:
            found.is_observed = field.value != 0
        if field.wire_type != WIRE_BYTES or not REQUEST_REQUEST_HEADERS <= field.number <= REQUEST_RESPONSE_TRAILERS:
            continue
        if found.kind:
            return None
        found.kind = field.number
        if field.number == REQUEST_REQUEST_HEADERS or field.number == REQUEST_RESPONSE_HEADERS:
            if not read_headers(field.bytes, slice_of(prefix), found):
                return None
        elif field.number == REQUEST_REQUEST_BODY or field.number == REQUEST_RESPONSE_BODY:
            if not read_body(field.bytes, found):
                return None
    return found if code == FIELD_END else None


cdef bint read_headers(slice_t given, slice_t prefix, Message found) except -1:
    cdef cursor_t cursor = cursor_of(given)
    cdef cursor_t inner
    cdef field_t field, header
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == HTTP_HEADERS_END_OF_STREAM and field.wire_type == WIRE_VARINT:
            found.end_of_stream = field.value != 0
        elif field.number == HTTP_HEADERS_HEADERS and field.wire_type == WIRE_BYTES:
            inner = cursor_of(field.bytes)
            while True:
                code = read_field(&inner, &header)
                if code != FIELD_READ:
                    break
                if header.number == HEADER_MAP_HEADERS and header.wire_type == WIRE_BYTES:
                    if not read_header(header.bytes, prefix, found):
                        return False
            if code == FIELD_ODD:
                return False


cdef bint read_header(slice_t given, slice_t prefix, Message found) except -1:
    cdef cursor_t cursor = cursor_of(given)
    cdef field_t field
    cdef slice_t key, value, raw
    cdef int code
    key.data = value.data = raw.data = b""
    key.size = value.size = raw.size = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.wire_type != WIRE_BYTES:
            continue
        if field.number == HEADER_VALUE_KEY:
            key = field.bytes
        elif field.number == HEADER_VALUE_VALUE:
            value = field.bytes
        elif field.number == HEADER_VALUE_RAW_VALUE:
            raw = field.bytes
    if code == FIELD_ODD or not is_utf8(key) or not is_utf8(value):
        return False
    # Envoy fills one of them, by its version and settings.
    if raw.size:
        value = raw
    if begins_with(key, pseudo) or begins_with(key, content):
        found.headers[key.data[:key.size].decode("utf-8")] = value.data[:value.size].decode("utf-8", "replace")
    elif begins_with(key, prefix):
        found.named[key.data[:key.size].decode("utf-8")] = value.data[:value.size].decode("utf-8", "replace")
    return True


cdef bint read_body(slice_t given, Message found) except -1:
    cdef cursor_t cursor = cursor_of(given)
    cdef field_t field
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == HTTP_BODY_BODY and field.wire_type == WIRE_BYTES:
            found.body = field.bytes.data[:field.bytes.size]
        elif field.number == HTTP_BODY_END_OF_STREAM and field.wire_type == WIRE_VARINT:
            found.end_of_stream = field.value != 0


cdef inline size_t field_size(size_t size) noexcept nogil:
    """Bytes of a field below 16 that holds so many."""
    cdef uint8_t[MAX_LEAD_BYTES] lead
    return (put_varint(lead + 1, size) - lead) + size


cdef inline uint8_t* put_lead(uint8_t* out, uint32_t number, size_t size) noexcept nogil:
    return put_varint(put_varint(out, number << 3 | WIRE_BYTES), size)


cdef size_t header_size(slice_t name, slice_t value) noexcept nogil:
    return field_size(name.size) + field_size(value.size)


cdef size_t option_size(size_t header) noexcept nogil:
    # Its header, and two bytes of an action.
    return field_size(header) + 2


def write_routed(tuple headers not None, bytes body):
    cdef size_t set_size = 0, common_size, response_size, header, option
    cdef slice_t name, value
    cdef bytes written
    cdef uint8_t* out
    for pair in headers:
        set_size += field_size(option_size(header_size(slice_of((<tuple> pair)[0]), slice_of((<tuple> pair)[1]))))
    # The flag takes two bytes.
    common_size = field_size(set_size) + 2
    if body is not None:
        common_size += field_size(field_size(PyBytes_GET_SIZE(body)))
    response_size = field_size(common_size)
    written = PyBytes_FromStringAndSize(NULL, field_size(response_size))
    out = <uint8_t*> PyBytes_AS_STRING(written)
    out = put_lead(out, RESPONSE_REQUEST_BODY, response_size)
    out = put_lead(out, BODY_RESPONSE_RESPONSE, common_size)
    out = put_lead(out, COMMON_HEADER_MUTATION, set_size)
    for pair in headers:
        name = slice_of((<tuple> pair)[0])
        value = slice_of((<tuple> pair)[1])
        header = header_size(name, value)
        option = option_size(header)
        out = put_lead(out, HEADER_MUTATION_SET_HEADERS, option)
        out = put_lead(out, OPTION_HEADER, header)
        out = put_text(out, HEADER_VALUE_KEY, name)
        out = put_text(out, HEADER_VALUE_RAW_VALUE, value)
        out = put_number(out, OPTION_APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD)
    if body is not None:
        out = put_lead(out, COMMON_BODY_MUTATION, field_size(PyBytes_GET_SIZE(body)))
        out = put_text(out, BODY_MUTATION_BODY, slice_of(body))
    out = put_number(out, COMMON_CLEAR_ROUTE_CACHE, 1)
    assert out == <uint8_t*> PyBytes_AS_STRING(written) + PyBytes_GET_SIZE(written)
    return written
