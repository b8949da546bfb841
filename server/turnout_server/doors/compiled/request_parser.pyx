"""RouteRequest's bytes to the engine's struct, without protobuf objects. Limits are those of codec.py."""

from libc.math cimport INFINITY, NAN
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from turnout_fastpath.core cimport *
from turnout_server.doors.compiled.protobuf cimport *

cdef enum:
    MAX_PARTS = 1024
    MAX_SPEAKER_BYTES = 64
    MAX_ID_BYTES = 128
    MAX_TOOL_CALLS = 128
    MAX_TOOLS = 512
    MAX_MEDIA_BYTES = 16 << 20
    MAX_URI_BYTES = 4096
    MAX_SCHEMA_NAME_BYTES = 64
    MAX_SCHEMA_BYTES = 256 << 10
    MAX_OUTPUT_TOKENS = 1_000_000
    MAX_CONTEXT_TOKENS = 100_000_000
    ANSWER_USES = 5


# Field numbers of turnout/v1/routing.proto and chat.proto, by message.
cdef enum:
    REQUEST_PROMPT = 1
    REQUEST_MESSAGES = 2
    REQUEST_REQUIREMENTS = 3
    REQUEST_CALLER = 4
    REQUEST_CONSTRAINTS = 5
    REQUEST_POLICY = 6
    REQUEST_EXPLAIN = 7
    REQUEST_DECISION_ID = 8

    MESSAGE_ROLE = 1
    MESSAGE_CONTENT = 2
    MESSAGE_PARTS = 3
    MESSAGE_NAME = 4
    MESSAGE_TOOL_CALL_ID = 5
    MESSAGE_TOOL_CALLS = 6

    PART_TEXT = 1
    PART_IMAGE = 2
    PART_AUDIO = 3
    PART_FILE = 4
    PART_CACHE_MARKER = 5

    MEDIA_DATA = 1
    MEDIA_URI = 2
    MEDIA_TYPE = 3
    MEDIA_NAME = 4

    CALL_ID = 1
    CALL_NAME = 2
    CALL_ARGUMENTS = 3
    CALL_SIGNATURE = 4

    REQUIREMENTS_FORMAT = 1
    REQUIREMENTS_TOOLS = 2
    REQUIREMENTS_OUTPUT_TOKENS = 3
    REQUIREMENTS_CONTEXT_TOKENS = 4
    REQUIREMENTS_ANSWER_USE = 5

    FORMAT_JSON_OBJECT = 1
    FORMAT_JSON_SCHEMA = 2

    SCHEMA_NAME = 1
    SCHEMA_JSON = 2
    SCHEMA_STRICT = 3

    TOOL_NAME = 1
    TOOL_DESCRIPTION = 2
    TOOL_SCHEMA = 3

    CALLER_TENANT = 1
    CALLER_USER_TIER = 2
    CALLER_FEATURE = 3
    CALLER_SESSION_ID = 4
    CALLER_LABELS = 5

    LABEL_KEY = 1
    LABEL_VALUE = 2

    CONSTRAINTS_MIN_TIER = 1
    CONSTRAINTS_MAX_TIER = 2
    CONSTRAINTS_DEPLOYMENTS = 3
    CONSTRAINTS_REGIONS = 4
    CONSTRAINTS_MAX_COST = 5
    CONSTRAINTS_QUALITY_BAR = 6


# A string field: its bytes are UTF-8 and at most `limit`.
cdef inline bint take_text(const field_t* field, size_t limit, slice_t* text) noexcept nogil:
    if field.wire_type != WIRE_BYTES or field.bytes.size > limit or not is_utf8(field.bytes):
        return False
    text[0] = field.bytes
    return True


# A name: as a text, and an empty one is none.
cdef inline bint take_name(const field_t* field, slice_t* name) noexcept nogil:
    if not take_text(field, MAX_NAME_BYTES, name):
        return False
    if name.size == 0:
        name.data = NULL
    return True


cdef int request_measure(slice_t bytes, sizes_t* sizes) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef cursor_t inner
    cdef field_t field, within
    cdef int code
    memset(sizes, 0, sizeof(sizes_t))
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.wire_type != WIRE_BYTES:
            continue
        if field.number == REQUEST_MESSAGES:
            sizes.n_messages += 1
            if sizes.n_messages > MAX_MESSAGES or not measure_parts(field.bytes, sizes):
                return ODD
        elif field.number == REQUEST_CONSTRAINTS:
            inner = cursor_of(field.bytes)
            while True:
                code = read_field(&inner, &within)
                if code != FIELD_READ:
                    break
                sizes.n_deployments += within.number == CONSTRAINTS_DEPLOYMENTS
                sizes.n_regions += within.number == CONSTRAINTS_REGIONS
            if code == FIELD_ODD:
                return ODD
    if code == FIELD_ODD or sizes.n_deployments > MAX_DEPLOYMENTS or sizes.n_regions > MAX_REGIONS:
        return ODD
    return PARSED


# Adds the text of a turn that has parts, with a separator each; it has to be joined.
cdef bint measure_parts(slice_t message, sizes_t* sizes) noexcept nogil:
    cdef cursor_t cursor = cursor_of(message)
    cdef field_t field
    cdef size_t text_bytes = 0
    cdef int code, n_parts = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.wire_type != WIRE_BYTES:
            continue
        if field.number == MESSAGE_CONTENT:
            # All of them, though the last one counts: an upper bound.
            text_bytes += field.bytes.size + 1
        elif field.number == MESSAGE_PARTS:
            n_parts += 1
            text_bytes += field.bytes.size + 1
    if n_parts:
        sizes.joined_bytes += text_bytes
    return code == FIELD_END and n_parts <= MAX_PARTS


cdef size_t request_memory(const sizes_t* sizes) noexcept nogil:
    return (max(1, sizes.n_messages) * sizeof(message_t)
            + (sizes.n_deployments + sizes.n_regions) * sizeof(slice_t) + sizes.joined_bytes)


# Where the parts of a request go.
cdef struct target_t:
    request_t* request
    message_t* messages
    slice_t* deployments
    slice_t* regions
    char* joined
    size_t text_bytes
    size_t schema_bytes


cdef int request_parse(slice_t bytes, const sizes_t* sizes, char* memory, size_t max_text_bytes,
                       request_t* request) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef target_t target
    cdef slice_t prompt, decision_id
    cdef bint has_prompt = False, fine
    cdef int code
    memset(request, 0, sizeof(request_t))
    request.max_cost_usd = NAN
    request.quality_bar = NAN
    decision_id.size = 0
    target.request = request
    target.messages = <message_t*> memory
    target.deployments = <slice_t*> (memory + max(1, sizes.n_messages) * sizeof(message_t))
    target.regions = target.deployments + sizes.n_deployments
    target.joined = <char*> (target.regions + sizes.n_regions)
    target.text_bytes = 0
    target.schema_bytes = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.number == REQUEST_PROMPT:
            has_prompt = True
            fine = take_text(&field, MAX_TEXT_BYTES, &prompt)
        elif field.number == REQUEST_MESSAGES:
            fine = field.wire_type == WIRE_BYTES and parse_message(field.bytes, &target)
        elif field.number == REQUEST_REQUIREMENTS:
            fine = field.wire_type == WIRE_BYTES and parse_requirements(field.bytes, &target)
        elif field.number == REQUEST_CALLER:
            fine = field.wire_type == WIRE_BYTES and parse_caller(field.bytes, request)
        elif field.number == REQUEST_CONSTRAINTS:
            fine = field.wire_type == WIRE_BYTES and parse_constraints(field.bytes, &target)
        elif field.number == REQUEST_POLICY:
            fine = take_name(&field, &request.policy)
        elif field.number == REQUEST_EXPLAIN:
            fine = field.wire_type == WIRE_VARINT and field.value == 0
        elif field.number == REQUEST_DECISION_ID:
            fine = take_text(&field, 32, &decision_id)
        else:
            fine = True
        if not fine:
            return ODD
    if code == FIELD_ODD or has_prompt == (request.n_messages > 0):
        return ODD
    if has_prompt:
        target.messages[0].role = ROLE_USER
        target.messages[0].text = prompt
        target.text_bytes = prompt.size
        request.n_messages = 1
    request.messages = target.messages
    request.allowed_deployments = target.deployments
    request.allowed_regions = target.regions
    if request.n_tools:
        request.needs |= NEED_TOOLS
    if (target.text_bytes > MAX_TEXT_BYTES or target.text_bytes > max_text_bytes
            or request.media_bytes > MAX_MEDIA_BYTES):
        return ODD
    if decision_id.size and not parse_decision_id(decision_id, request):
        return ODD
    return PARSED


cdef bint parse_decision_id(slice_t text, request_t* request) noexcept nogil:
    cdef size_t i
    cdef uint8_t digit, value
    if text.size != 32:
        return False
    for i in range(32):
        digit = <uint8_t> text.data[i]
        if c'0' <= digit <= c'9':
            value = digit - c'0'
        elif c'a' <= digit <= c'f':
            value = digit - c'a' + 10
        else:
            return False
        request.decision_id[i >> 1] = <uint8_t> (request.decision_id[i >> 1] << 4 | value)
    request.has_decision_id = 1
    return True


cdef bint parse_message(slice_t bytes, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef message_t* message = &target.messages[target.request.n_messages]
    cdef slice_t content, ignored
    cdef bint fine
    cdef int code, n_parts = 0, n_calls = 0
    message.role = ROLE_UNSPECIFIED
    content.data = ""
    content.size = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.number == MESSAGE_ROLE:
            fine = field.wire_type == WIRE_VARINT
            # An enumeration's 32 bits; a role from a newer contract reads as a user's turn.
            message.role = <int32_t> <uint32_t> field.value
            if not ROLE_UNSPECIFIED <= message.role <= ROLE_TOOL:
                message.role = ROLE_UNSPECIFIED
        elif field.number == MESSAGE_CONTENT:
            fine = take_text(&field, MAX_TEXT_BYTES, &content)
        elif field.number == MESSAGE_PARTS:
            n_parts += 1
            fine = field.wire_type == WIRE_BYTES
        elif field.number == MESSAGE_NAME:
            fine = take_text(&field, MAX_SPEAKER_BYTES, &ignored)
        elif field.number == MESSAGE_TOOL_CALL_ID:
            fine = take_text(&field, MAX_ID_BYTES, &ignored)
        elif field.number == MESSAGE_TOOL_CALLS:
            n_calls += 1
            fine = field.wire_type == WIRE_BYTES and n_calls <= MAX_TOOL_CALLS and is_tool_call(field.bytes)
        else:
            fine = True
        if not fine:
            return False
    if code == FIELD_ODD:
        return False
    message.text = content
    if n_parts and not join_parts(bytes, content, message, target):
        return False
    target.text_bytes += message.text.size
    target.request.n_messages += 1
    return True


cdef bint is_tool_call(slice_t bytes) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef slice_t ignored
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == CALL_ID or field.number == CALL_NAME:
            if not take_text(&field, MAX_ID_BYTES, &ignored):
                return False
        elif field.number == CALL_ARGUMENTS or field.number == CALL_SIGNATURE:
            if not take_text(&field, bytes.size, &ignored):
                return False


# The turn's text: its content, if it has some, and its text parts, a line each.
cdef bint join_parts(slice_t bytes, slice_t content, message_t* message, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef char* start = target.joined
    cdef bint is_first = content.size == 0
    message.text.data = start
    memcpy(target.joined, content.data, content.size)
    target.joined += content.size
    while read_field(&cursor, &field) == FIELD_READ:
        if field.number == MESSAGE_PARTS and not parse_part(field.bytes, &is_first, target):
            return False
    message.text.size = target.joined - start
    return True


cdef bint parse_part(slice_t bytes, bint* is_first, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef slice_t text
    cdef int code, n_kinds = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == PART_TEXT:
            if not take_text(&field, MAX_TEXT_BYTES, &text):
                return False
            if not is_first[0]:
                target.joined[0] = c"\n"
                target.joined += 1
            is_first[0] = False
            memcpy(target.joined, text.data, text.size)
            target.joined += text.size
        elif field.number == PART_IMAGE or field.number == PART_AUDIO or field.number == PART_FILE:
            if field.wire_type != WIRE_BYTES or not parse_media(field.bytes, target.request):
                return False
            target.request.needs |= (NEED_IMAGE if field.number == PART_IMAGE
                                     else NEED_AUDIO if field.number == PART_AUDIO else NEED_FILE)
        elif field.number == PART_CACHE_MARKER:
            if field.wire_type != WIRE_VARINT:
                return False
            continue
        else:
            continue
        # Of a `oneof` the last one counts; what is set twice is left to the library.
        n_kinds += 1
        if n_kinds > 1:
            return False


cdef bint parse_media(slice_t bytes, request_t* request) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef slice_t text
    cdef int code, n_sources = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END and n_sources <= 1
        if field.number == MEDIA_DATA:
            if field.wire_type != WIRE_BYTES:
                return False
            request.media_bytes += field.bytes.size
            n_sources += 1
        elif field.number == MEDIA_URI:
            if not take_text(&field, MAX_URI_BYTES, &text) or text.size < 8 or memcmp(text.data, b"https://", 8):
                return False
            n_sources += 1
        elif field.number == MEDIA_TYPE:
            if not take_text(&field, MAX_ID_BYTES, &text):
                return False
        elif field.number == MEDIA_NAME:
            if not take_text(&field, bytes.size, &text):
                return False


cdef bint parse_requirements(slice_t bytes, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef request_t* request = target.request
    cdef uint64_t[MAX_TOOLS] names
    cdef bint fine
    cdef int code
    # In several pieces: left to the library, since names must be unique over all of them.
    if request.n_tools:
        return False
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == REQUIREMENTS_FORMAT:
            fine = field.wire_type == WIRE_BYTES and parse_format(field.bytes, request)
        elif field.number == REQUIREMENTS_TOOLS:
            fine = field.wire_type == WIRE_BYTES and request.n_tools < MAX_TOOLS and parse_tool(
                field.bytes, names, target)
        elif field.number == REQUIREMENTS_OUTPUT_TOKENS:
            request.expected_output_tokens = <uint32_t> field.value
            fine = field.wire_type == WIRE_VARINT and request.expected_output_tokens <= MAX_OUTPUT_TOKENS
        elif field.number == REQUIREMENTS_CONTEXT_TOKENS:
            request.context_tokens = <uint32_t> field.value
            fine = field.wire_type == WIRE_VARINT and request.context_tokens <= MAX_CONTEXT_TOKENS
        elif field.number == REQUIREMENTS_ANSWER_USE:
            fine = field.wire_type == WIRE_VARINT
            request.answer_use = <int32_t> <uint32_t> field.value
            # A value from a newer contract reads as not said.
            if not 0 <= request.answer_use < ANSWER_USES:
                request.answer_use = 0
        else:
            fine = True
        if not fine:
            return False


cdef bint parse_format(slice_t bytes, request_t* request) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number != FORMAT_JSON_OBJECT and field.number != FORMAT_JSON_SCHEMA:
            continue
        # Of a `oneof` the last one counts; what is set twice is left to the library.
        if request.needs & (NEED_JSON | NEED_JSON_SCHEMA) or field.wire_type != WIRE_BYTES:
            return False
        if field.number == FORMAT_JSON_OBJECT:
            if not is_message(field.bytes):
                return False
            request.needs |= NEED_JSON
        else:
            if not is_schema_format(field.bytes):
                return False
            request.needs |= NEED_JSON_SCHEMA


# Whether the bytes are fields, none of which is read.
cdef bint is_message(slice_t bytes) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef int code = FIELD_READ
    while code == FIELD_READ:
        code = read_field(&cursor, &field)
    return code == FIELD_END


cdef bint is_schema_format(slice_t bytes) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef slice_t ignored
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == SCHEMA_NAME:
            if not take_text(&field, MAX_SCHEMA_NAME_BYTES, &ignored):
                return False
        elif field.number == SCHEMA_JSON:
            if not take_text(&field, MAX_SCHEMA_BYTES, &ignored):
                return False
        elif field.number == SCHEMA_STRICT:
            if field.wire_type != WIRE_VARINT:
                return False


cdef bint parse_tool(slice_t bytes, uint64_t* names, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef request_t* request = target.request
    cdef slice_t name, description, schema
    cdef uint64_t hashed = 14695981039346656037
    cdef uint32_t i
    cdef size_t j
    cdef int code
    name.data = ""
    name.size = description.size = schema.size = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.number == TOOL_NAME:
            if not take_text(&field, MAX_ID_BYTES, &name):
                return False
        elif field.number == TOOL_DESCRIPTION:
            if not take_text(&field, bytes.size, &description):
                return False
        elif field.number == TOOL_SCHEMA:
            if not take_text(&field, bytes.size, &schema):
                return False
    target.schema_bytes += schema.size
    if code == FIELD_ODD or target.schema_bytes > MAX_SCHEMA_BYTES:
        return False
    # FNV-1a. Equal hashes are most likely equal names, which the library's path refuses by name.
    for j in range(name.size):
        hashed = (hashed ^ <uint8_t> name.data[j]) * <uint64_t> 1099511628211
    for i in range(request.n_tools):
        if names[i] == hashed:
            return False
    names[request.n_tools] = hashed
    request.n_tools += 1
    request.tool_schema_bytes += name.size + description.size + schema.size
    return True


cdef bint parse_caller(slice_t bytes, request_t* request) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef bint fine
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == CALLER_TENANT:
            fine = take_name(&field, &request.tenant)
        elif field.number == CALLER_USER_TIER:
            fine = take_name(&field, &request.user_tier)
        elif field.number == CALLER_FEATURE:
            fine = take_name(&field, &request.feature)
        elif field.number == CALLER_SESSION_ID:
            fine = take_name(&field, &request.session_id)
        elif field.number == CALLER_LABELS:
            fine = field.wire_type == WIRE_BYTES and parse_label(field.bytes, request)
        else:
            fine = True
        if not fine:
            return False


# A map's entry, put in the order of the keys; of equal keys the last one counts.
cdef bint parse_label(slice_t bytes, request_t* request) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef label_t label
    cdef int code, order, i = request.n_labels
    label.key.data = label.value.data = ""
    label.key.size = label.value.size = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            break
        if field.number == LABEL_KEY:
            if not take_text(&field, MAX_NAME_BYTES, &label.key):
                return False
        elif field.number != LABEL_VALUE or not take_text(&field, MAX_NAME_BYTES, &label.value):
            # Libraries differ in what they do with an entry that has more than key and value.
            return False
    if code == FIELD_ODD:
        return False
    while i > 0:
        order = compare(label.key, request.labels[i - 1].key)
        if order == 0:
            request.labels[i - 1] = label
            return True
        if order > 0:
            break
        i -= 1
    if request.n_labels == MAX_LABELS:
        return False
    for code in range(request.n_labels, i, -1):
        request.labels[code] = request.labels[code - 1]
    request.labels[i] = label
    request.n_labels += 1
    return True


# UTF-8's order is that of the code points, which is Python's order of strings.
cdef inline int compare(slice_t a, slice_t b) noexcept nogil:
    cdef int order = memcmp(a.data, b.data, min(a.size, b.size))
    if order:
        return order
    return (a.size > b.size) - (a.size < b.size)


cdef bint parse_constraints(slice_t bytes, target_t* target) noexcept nogil:
    cdef cursor_t cursor = cursor_of(bytes)
    cdef field_t field
    cdef request_t* request = target.request
    cdef bint fine
    cdef int code
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == CONSTRAINTS_MIN_TIER:
            fine = take_name(&field, &request.min_tier)
        elif field.number == CONSTRAINTS_MAX_TIER:
            fine = take_name(&field, &request.max_tier)
        elif field.number == CONSTRAINTS_DEPLOYMENTS:
            fine = take_text(&field, bytes.size, &target.deployments[request.n_allowed_deployments])
            request.n_allowed_deployments += 1
        elif field.number == CONSTRAINTS_REGIONS:
            fine = take_text(&field, bytes.size, &target.regions[request.n_allowed_regions])
            request.n_allowed_regions += 1
        elif field.number == CONSTRAINTS_MAX_COST:
            memcpy(&request.max_cost_usd, &field.value, 8)
            fine = field.wire_type == WIRE_FIXED64 and 0 < request.max_cost_usd < INFINITY
        elif field.number == CONSTRAINTS_QUALITY_BAR:
            memcpy(&request.quality_bar, &field.value, 8)
            fine = field.wire_type == WIRE_FIXED64 and 0 <= request.quality_bar <= 1
        else:
            fine = True
        if not fine:
            return False
