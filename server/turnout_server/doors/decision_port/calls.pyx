"""The methods: gRPC's messages in a request's body to decisions in its answer."""

from libc.math cimport INFINITY
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.compiled.protobuf cimport (
    FIELD_END, FIELD_READ, WIRE_BYTES, cursor_of, cursor_t, field_t, is_utf8, put_varint, read_field,
)
from turnout_server.doors.decision_port.answers cimport (
    MAX_STREAM_OUT_BYTES, answer, ask_processor, ask_python, count_out, fail, succeed,
)
from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_size, buffer_t
from turnout_server.doors.decision_port.decider cimport DECIDED, DRAWN, LONGER_WAY, TOO_LATE, decide_route
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.nghttp2 cimport *
from turnout_server.doors.decision_port.streams cimport is_stream, mark_dirty, stream_release, stream_wait


cdef extern from "atomics.h" nogil:
    uint64_t monotonic_ns()

cdef extern from "counters.h" nogil:
    int flag_read(const int*)


nghttp2_load()

cdef enum:
    MAX_CORRELATION_BYTES = 128
    ITEMS_A_TURN = 32            # of a batch or stream, until other calls have theirs
    TAG_1_BYTES = 0x0A           # fields 1 and 2, length-delimited
    TAG_2_BYTES = 0x12


cdef inline void put_prefix(buffer_t* out, size_t start) noexcept nogil:
    """gRPC's prefix of the message that begins PREFIX_BYTES behind `start`, an offset from `begin`."""
    cdef uint8_t* at = out.data + out.begin + start
    cdef size_t size = buffer_size(out) - start - PREFIX_BYTES
    at[0] = 0
    at[1] = <uint8_t> (size >> 24)
    at[2] = <uint8_t> (size >> 16)
    at[3] = <uint8_t> (size >> 8)
    at[4] = <uint8_t> size


cdef bint add_prefix(buffer_t* out, size_t* start) noexcept nogil:
    start[0] = buffer_size(out)
    return buffer_add(out, b"\0\0\0\0\0", PREFIX_BYTES)


cdef double time_left_s(const stream_t* stream) noexcept nogil:
    if stream.deadline_ns == 0:
        return INFINITY
    return (<double> stream.deadline_ns - <double> monotonic_ns()) * 1e-9


cdef int next_message(stream_t* stream, slice_t* message) noexcept nogil:
    """1 with the next whole message of the body, 0 if there is none yet, -1 if it can be none, -2 if it is too large."""
    cdef const uint8_t* at = stream.input.data + stream.input.begin
    cdef size_t size = buffer_size(&stream.input), length
    if size < PREFIX_BYTES:
        return 0
    if at[0]:
        return -1
    length = <size_t> at[1] << 24 | <size_t> at[2] << 16 | <size_t> at[3] << 8 | at[4]
    if length > size - PREFIX_BYTES:
        return -2 if length > stream.connection.thread.limits.max_message_bytes else 0
    message.data = <const char*> at + PREFIX_BYTES
    message.size = length
    return 1


cdef void give_back(stream_t* stream, size_t n) noexcept nogil:
    n = min(n, stream.held)
    if n:
        stream.held -= n
        h2_session_consume_stream(<nghttp2_session*> stream.connection.session, stream.id, n)
        mark_dirty(stream.connection)


cdef bint only_message(stream_t* stream, slice_t* message) noexcept nogil:
    """The message of a call that has one; False with the call ended."""
    if next_message(stream, message) == 1 and message.size + PREFIX_BYTES == buffer_size(&stream.input):
        return True
    fail(stream, FAIL_FRAMING)
    return False


cdef void decide_one(stream_t* stream) noexcept nogil:
    cdef thread_t* thread = stream.connection.thread
    cdef slice_t message
    cdef size_t start
    cdef double remaining_s = time_left_s(stream)
    cdef int code
    if not only_message(stream, &message):
        return
    if not add_prefix(&stream.out, &start):
        fail(stream, FAIL_INTERNAL)
        return
    code = decide_route(thread.decider, message, remaining_s, &stream.out)
    if code == TOO_LATE:
        stream.out.end = stream.out.begin + start
        fail(stream, FAIL_TOO_LATE)
        return
    if code != DECIDED and not ask_python(stream, CALL_ROUTE, code == DRAWN, message, remaining_s, &stream.out):
        return
    put_prefix(&stream.out, start)
    succeed(stream)


cdef int decide_item(stream_t* stream, slice_t request, buffer_t* out, uint8_t tag) noexcept nogil:
    """Adds field `tag` with a RouteResult. DECIDED, TOO_LATE, or -1 with the call ended."""
    cdef thread_t* thread = stream.connection.thread
    cdef buffer_t* scratch = &thread.scratch
    cdef double remaining_s = time_left_s(stream)
    cdef uint8_t[24] head
    cdef uint8_t* end = head
    cdef int code
    scratch.begin = scratch.end = 0
    code = decide_route(thread.decider, request, remaining_s, scratch)
    if code == TOO_LATE:
        return TOO_LATE
    if code != DECIDED:
        # Python's bytes are the whole RouteResult.
        if not ask_python(stream, CALL_ITEM, code == DRAWN, request, remaining_s, scratch):
            return -1
        end[0] = tag
        end = put_varint(end + 1, buffer_size(scratch))
    else:
        put_result_heads(tag, buffer_size(scratch), head, &end)
    if not buffer_add(out, head, end - head) or not buffer_add(out, scratch.data, buffer_size(scratch)):
        fail(stream, FAIL_INTERNAL)
        return -1
    return DECIDED


cdef void put_result_heads(uint8_t tag, size_t size, uint8_t* head, uint8_t** end) noexcept nogil:
    """The heads of field `tag`, a RouteResult, and of its field `response` of `size` bytes."""
    cdef uint8_t[11] inner
    cdef uint8_t* inner_end
    inner[0] = TAG_1_BYTES
    inner_end = put_varint(inner + 1, size)
    head[0] = tag
    end[0] = put_varint(head + 1, (inner_end - inner) + size)
    memcpy(end[0], inner, inner_end - inner)
    end[0] += inner_end - inner


cdef bint is_plain_batch(slice_t message, int most) noexcept nogil:
    cdef cursor_t cursor = cursor_of(message)
    cdef field_t field
    cdef int code, n = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END and 1 <= n <= most
        if field.number != 1 or field.wire_type != WIRE_BYTES:
            return False
        n += 1


cdef void decide_batch(stream_t* stream) noexcept nogil:
    cdef thread_t* thread = stream.connection.thread
    cdef slice_t message, left
    cdef cursor_t cursor
    cdef field_t field
    cdef size_t start
    cdef int code, n = 0
    if not only_message(stream, &message):
        return
    if stream.cursor == 0:
        if thread.buffered_bytes > thread.limits.max_buffered_bytes:
            fail(stream, FAIL_OVERLOADED)
            return
        if not add_prefix(&stream.out, &start):
            fail(stream, FAIL_INTERNAL)
            return
        if not is_plain_batch(message, thread.limits.max_batch):
            if ask_python(stream, CALL_BATCH, False, message, time_left_s(stream), &stream.out):
                put_prefix(&stream.out, 0)
                succeed(stream)
            return
    left.data = message.data + stream.cursor
    left.size = message.size - stream.cursor
    cursor = cursor_of(left)
    while read_field(&cursor, &field) == FIELD_READ:
        code = decide_item(stream, field.bytes, &stream.out, TAG_1_BYTES)
        if code != DECIDED:
            if code == TOO_LATE:
                fail(stream, FAIL_TOO_LATE)
            return
        n += 1
        if n == ITEMS_A_TURN and cursor.at != cursor.end:
            stream.cursor = <const char*> cursor.at - message.data
            count_out(stream)
            stream_wait(stream)
            return
    put_prefix(&stream.out, 0)
    succeed(stream)


cdef bint read_item(slice_t message, slice_t* correlation, slice_t* request) noexcept nogil:
    """RouteStreamRequest's fields, each at most once; False where Python must read it."""
    cdef cursor_t cursor = cursor_of(message)
    cdef field_t field
    cdef bint has_request = False
    cdef int code
    correlation.size = request.size = 0
    correlation.data = request.data = b""
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END and has_request
        if field.wire_type != WIRE_BYTES:
            return False
        if field.number == 1 and correlation.size == 0 and field.bytes.size <= MAX_CORRELATION_BYTES:
            if not is_utf8(field.bytes):
                return False
            correlation[0] = field.bytes
        elif field.number == 2 and not has_request:
            request[0] = field.bytes
            has_request = True
        else:
            return False


cdef int decide_message(stream_t* stream, slice_t message) noexcept nogil:
    """Adds the answer to one RouteStreamRequest. DECIDED, TOO_LATE, or -1 with the call ended."""
    cdef slice_t correlation, request
    cdef uint8_t[2] head
    cdef int code = LONGER_WAY
    if read_item(message, &correlation, &request) and correlation.size < 0x80:
        head[0] = TAG_1_BYTES
        head[1] = <uint8_t> correlation.size
        if correlation.size and not (buffer_add(&stream.out, head, 2)
                                     and buffer_add(&stream.out, correlation.data, correlation.size)):
            fail(stream, FAIL_INTERNAL)
            return -1
        code = decide_item(stream, request, &stream.out, TAG_2_BYTES)
    if code == LONGER_WAY:
        code = DECIDED if ask_python(stream, CALL_STREAM, False, message, time_left_s(stream), &stream.out) else -1
    return code


cdef void decide_stream(stream_t* stream) noexcept nogil:
    """Decides what has come of a stream of requests, in order."""
    cdef thread_t* thread = stream.connection.thread
    cdef slice_t message
    cdef size_t start, used
    cdef int code, n = 0
    while buffer_size(&stream.out) < MAX_STREAM_OUT_BYTES:
        code = next_message(stream, &message)
        if code == 0:
            give_back(stream, stream.held)
            break
        if code < 0:
            fail(stream, FAIL_FRAMING if code == -1 else FAIL_MESSAGE_SIZE)
            return
        if n == ITEMS_A_TURN:
            stream_wait(stream)
            break
        n += 1
        if not add_prefix(&stream.out, &start):
            fail(stream, FAIL_INTERNAL)
            return
        if stream.call == CALL_PROCESS:
            code = DECIDED if ask_processor(stream, message, &stream.out) else -1
        else:
            code = decide_message(stream, message)
        if code != DECIDED:
            stream.out.end = stream.out.begin + start
            if code == TOO_LATE:
                fail(stream, FAIL_TOO_LATE)
            return
        put_prefix(&stream.out, start)
        used = PREFIX_BYTES + message.size
        stream.input.begin += used
        thread.buffered_bytes -= used
        give_back(stream, used)
    if stream.has_ended and not stream.is_pending and next_message(stream, &message) != 1:
        if buffer_size(&stream.input):
            fail(stream, FAIL_FRAMING)
        else:
            succeed(stream)
    elif n:
        answer(stream)


cdef bint read_service(slice_t message, slice_t* service) noexcept nogil:
    """HealthCheckRequest's field; False if it is none."""
    cdef cursor_t cursor = cursor_of(message)
    cdef field_t field
    cdef int code
    service.data = b""
    service.size = 0
    while True:
        code = read_field(&cursor, &field)
        if code != FIELD_READ:
            return code == FIELD_END
        if field.number == 1:
            if field.wire_type != WIRE_BYTES or not is_utf8(field.bytes):
                return False
            service[0] = field.bytes


cdef bint is_known_service(slice_t service) noexcept nogil:
    return service.size == 0 or equals(<const uint8_t*> service.data, service.size,
                                       text_of(b"turnout.v1.RoutingService"))


cdef void tell_health(stream_t* stream, int status) noexcept nogil:
    """Adds a HealthCheckResponse."""
    cdef uint8_t[7] framed
    framed[0] = framed[1] = framed[2] = framed[3] = 0
    framed[4] = 2
    framed[5] = 8
    framed[6] = <uint8_t> status
    stream.watched = status
    if not buffer_add(&stream.out, framed, 7):
        fail(stream, FAIL_INTERNAL)


cdef void decide_health(stream_t* stream) noexcept nogil:
    cdef thread_t* thread = stream.connection.thread
    cdef slice_t message, service
    if stream.is_watching or not only_message(stream, &message):
        return
    if not read_service(message, &service):
        fail(stream, FAIL_FRAMING)
    elif stream.call == CALL_HEALTH_CHECK:
        if is_known_service(service):
            tell_health(stream, flag_read(&thread.health))
            succeed(stream)
        else:
            fail(stream, FAIL_UNKNOWN_SERVICE)
    else:
        stream.is_watching = True
        tell_health(stream, flag_read(&thread.health) if is_known_service(service) else HEALTH_SERVICE_UNKNOWN)
        answer(stream)


cdef void decide_pending(thread_t* thread, int most) noexcept nogil:
    cdef stream_t* stream
    while most > 0 and thread.first_pending != NULL:
        most -= 1
        stream = thread.first_pending
        thread.first_pending = stream.next_pending
        if thread.first_pending == NULL:
            thread.last_pending = NULL
        thread.n_pending -= 1
        stream.is_pending = False
        if stream.connection == NULL:
            stream_release(stream, thread)
        elif stream.is_finished:
            continue
        elif stream.call == CALL_ROUTE:
            decide_one(stream)
        elif stream.call == CALL_BATCH:
            decide_batch(stream)
        elif is_stream(stream):
            decide_stream(stream)
        else:
            decide_health(stream)
