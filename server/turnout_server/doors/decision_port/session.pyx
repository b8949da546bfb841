"""What HTTP/2 tells of a connection: frames, headers, data and the ends of streams; floods end it."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.decision_port.answers cimport fail, refuse_http
from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_size
from turnout_server.doors.decision_port.calls cimport PREFIX_BYTES, give_back, next_message
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.nghttp2 cimport *
from turnout_server.doors.decision_port.streams cimport is_stream, mark_dirty, stream_close, stream_new, stream_wait


cdef extern from "counters.h" nogil:
    void counter_add(uint64_t*, uint64_t)
    int flag_read(const int*)


nghttp2_load()

cdef enum:
    HEADER_OVERHEAD_BYTES = 32   # RFC 9113, section 6.5.2
    MAX_CONTINUATIONS = 16
    MAX_EMPTY_FRAMES = 1000
    MAX_PING_STRIKES = 2
    NO_RESET_LIMIT = 1 << 30


cdef bint ends_answered(nghttp2_session* session, int32_t id) noexcept nogil:
    """Whether a reset ends an answered stream of Envoy's: it resets every stream, once it knows what it wants to know."""
    cdef stream_t* stream = <stream_t*> h2_session_get_stream_user_data(session, id)
    return stream != NULL and stream.call == CALL_PROCESS and stream.has_answered


cdef inline int32_t* ended_place(connection_t* connection, int32_t id) noexcept nogil:
    return &connection.ended[id >> 1 & (ENDED_STREAMS - 1)]


cdef void watch_order(connection_t* connection, int32_t id) noexcept nogil:
    """Streams are opened in order, and each once (RFC 9113, section 5.1.1). The library passes over headers on one that
    is not open, and their caller would wait for ever. On one that was reset from here they had been on their way."""
    if id > connection.last_id:
        if id - connection.last_id > 2:
            connection.skipped_from, connection.skipped_to = connection.last_id + 2, id - 2
        connection.last_id = id
    elif connection.skipped_from <= id <= connection.skipped_to:
        h2_session_terminate_session(<nghttp2_session*> connection.session, NGHTTP2_PROTOCOL_ERROR)
    elif ended_place(connection, id)[0] == id:
        h2_session_terminate_session(<nghttp2_session*> connection.session, NGHTTP2_STREAM_CLOSED)


cdef int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* hd, void* user) noexcept nogil:
    """Floods end the connection."""
    cdef connection_t* connection = <connection_t*> user
    cdef uint64_t now = connection.thread.now_ns
    if hd.type == NGHTTP2_HEADERS:
        connection.n_continuations = 0
        watch_order(connection, hd.stream_id)
    elif hd.type == NGHTTP2_CONTINUATION:
        connection.n_continuations += 1
        if connection.n_continuations > MAX_CONTINUATIONS:
            return NGHTTP2_ERR_CALLBACK_FAILURE
    elif hd.type == NGHTTP2_DATA:
        if hd.length == 0 and not hd.flags & NGHTTP2_FLAG_END_STREAM:
            connection.n_empty_frames += 1
            if connection.n_empty_frames > MAX_EMPTY_FRAMES:
                return NGHTTP2_ERR_CALLBACK_FAILURE
    elif hd.type == NGHTTP2_RST_STREAM and not ends_answered(session, hd.stream_id):
        connection.resets = min(<double> RESET_BURST,
                                connection.resets + (now - connection.resets_ns) * 1e-9 * RESETS_PER_S)
        connection.resets_ns = now
        connection.resets -= 1
        if connection.resets < 0:
            h2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM)
    elif hd.type == NGHTTP2_PING and not hd.flags & NGHTTP2_FLAG_ACK:
        if connection.client_pinged_ns and now - connection.client_pinged_ns < connection.thread.limits.min_ping_ns:
            connection.ping_strikes += 1
            if connection.ping_strikes > MAX_PING_STRIKES and connection.goodbye != 2:
                h2_submit_goaway(session, 0, h2_session_get_last_proc_stream_id(session), NGHTTP2_ENHANCE_YOUR_CALM,
                                 b"too_many_pings", 14)
                connection.goodbye = 2
                connection.goodbye_ns = now
        else:
            connection.ping_strikes = 0
        connection.client_pinged_ns = now
    return 0


cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept nogil:
    cdef stream_t* stream
    if h2_session_get_stream_user_data(session, frame.hd.stream_id) != NULL:
        # A request's trailers.
        return 0
    stream = stream_new(<connection_t*> user, frame.hd.stream_id)
    if stream == NULL or h2_session_set_stream_user_data(session, frame.hd.stream_id, stream):
        return NGHTTP2_ERR_CALLBACK_FAILURE
    return 0


cdef int call_of(const uint8_t* path, size_t size) noexcept nogil:
    if equals(path, size, text_of(b"/turnout.v1.RoutingService/Route")):
        return CALL_ROUTE
    if equals(path, size, text_of(b"/turnout.v1.RoutingService/RouteBatch")):
        return CALL_BATCH
    if equals(path, size, text_of(b"/turnout.v1.RoutingService/RouteStream")):
        return CALL_STREAM
    if equals(path, size, text_of(b"/grpc.health.v1.Health/Check")):
        return CALL_HEALTH_CHECK
    if equals(path, size, text_of(b"/grpc.health.v1.Health/Watch")):
        return CALL_HEALTH_WATCH
    if equals(path, size, text_of(b"/envoy.service.ext_proc.v3.ExternalProcessor/Process")):
        return CALL_PROCESS
    return CALL_UNKNOWN


cdef inline bint decides(const stream_t* stream) noexcept nogil:
    """Whether its method is one that a service that is full or not ready refuses."""
    return stream.call <= CALL_STREAM or stream.call == CALL_PROCESS


cdef uint64_t timeout_ns(const uint8_t* value, size_t size) noexcept nogil:
    """grpc-timeout: at most 8 digits and a unit; 0 if it is none."""
    cdef uint64_t n = 0, unit
    cdef size_t i
    if not 2 <= size <= 9:
        return 0
    for i in range(size - 1):
        if not c'0' <= value[i] <= c'9':
            return 0
        n = 10 * n + (value[i] - c'0')
    if value[size - 1] == c'n':
        unit = 1
    elif value[size - 1] == c'u':
        unit = 1000
    elif value[size - 1] == c'm':
        unit = 1000000
    elif value[size - 1] == c'S':
        unit = 1000000000
    elif value[size - 1] == c'M':
        unit = <uint64_t> 60 * 1000000000
    elif value[size - 1] == c'H':
        unit = <uint64_t> 3600 * 1000000000
    else:
        return 0
    # A deadline of 0 is one that has passed.
    return max(<uint64_t> 1, min(n, <uint64_t> 4000000) * unit if unit > 1000000000 else n * unit)


cdef int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                   const uint8_t* value, size_t size, uint8_t flags, void* user) noexcept nogil:
    cdef stream_t* stream = <stream_t*> h2_session_get_stream_user_data(session, frame.hd.stream_id)
    cdef uint64_t timeout
    if stream == NULL or stream.is_open:
        return 0
    stream.header_bytes += name_size + size + HEADER_OVERHEAD_BYTES
    if stream.header_bytes > MAX_HEADER_BYTES:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    if equals(name, name_size, text_of(b":path")):
        stream.call = call_of(value, size)
        if stream.call == CALL_PROCESS and not stream.connection.thread.limits.processes:
            stream.call = CALL_UNKNOWN
        if stream.call == CALL_UNKNOWN:
            stream.failure = FAIL_UNKNOWN_METHOD
    elif equals(name, name_size, text_of(b":method")):
        stream.is_post = equals(value, size, text_of(b"POST"))
        stream.is_head = equals(value, size, text_of(b"HEAD"))
    elif equals(name, name_size, text_of(b"content-type")):
        stream.is_grpc = size >= 16 and memcmp(value, b"application/grpc", 16) == 0 and (
            size == 16 or value[16] == c'+' or value[16] == c';')
    elif equals(name, name_size, text_of(b"grpc-timeout")):
        timeout = timeout_ns(value, size)
        if timeout:
            stream.deadline_ns = stream.began_ns + timeout
    elif equals(name, name_size, text_of(b"grpc-encoding")):
        if not equals(value, size, text_of(b"identity")) and stream.failure < 0:
            stream.failure = FAIL_COMPRESSED
    return 0


cdef void open_call(stream_t* stream) noexcept nogil:
    """The headers are whole."""
    cdef thread_t* thread = stream.connection.thread
    if not stream.is_post or not stream.is_grpc:
        # Not gRPC: HTTP's own answer, once the request is whole. Its body is looked at by HTTP/2 alone.
        return
    stream.is_open = True
    counter_add(&thread.started[stream.call], 1)
    if stream.failure >= 0:
        fail(stream, stream.failure)
    elif decides(stream) and not flag_read(&thread.admits):
        fail(stream, FAIL_NOT_SERVING)
    elif stream.call <= CALL_STREAM and thread.n_pending >= thread.limits.max_pending:
        # Before its body is looked at.
        fail(stream, FAIL_OVERLOADED)


cdef void end_request(stream_t* stream) noexcept nogil:
    """The client sends no more."""
    cdef thread_t* thread = stream.connection.thread
    stream.has_ended = True
    if stream.is_finished or stream.is_watching:
        return
    if not stream.is_open:
        refuse_http(stream)
    elif thread.n_pending >= thread.limits.max_pending and decides(stream) and not stream.has_answered:
        fail(stream, FAIL_OVERLOADED)
    else:
        stream_wait(stream)


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept nogil:
    cdef connection_t* connection = <connection_t*> user
    cdef stream_t* stream
    cdef slice_t message
    if frame.hd.type == NGHTTP2_SETTINGS:
        connection.has_settings = True
    elif frame.hd.type == NGHTTP2_PING and frame.hd.flags & NGHTTP2_FLAG_ACK:
        connection.pinged_ns = 0
    if frame.hd.type != NGHTTP2_HEADERS and frame.hd.type != NGHTTP2_DATA and frame.hd.type != NGHTTP2_RST_STREAM:
        return 0
    stream = <stream_t*> h2_session_get_stream_user_data(session, frame.hd.stream_id)
    if stream == NULL:
        return 0
    if frame.hd.type == NGHTTP2_RST_STREAM:
        # HTTP/2 closes it next.
        stream.has_ended = True
        return 0
    connection.ping_strikes = 0
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        stream.has_ended = True
    if frame.hd.type == NGHTTP2_HEADERS and not stream.is_open and not stream.is_finished:
        open_call(stream)
    if stream.is_finished:
        return 0
    if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        end_request(stream)
    elif is_stream(stream) and not stream.is_pending:
        if next_message(stream, &message):
            stream_wait(stream)
        else:
            # The rest of an item may be larger than the window.
            give_back(stream, stream.held)
    elif stream.call == CALL_HEALTH_WATCH and not stream.is_watching and next_message(stream, &message):
        stream_wait(stream)
    return 0


cdef int on_data(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* data, size_t size,
                 void* user) noexcept nogil:
    cdef connection_t* connection = <connection_t*> user
    cdef thread_t* thread = connection.thread
    cdef stream_t* stream = <stream_t*> h2_session_get_stream_user_data(session, id)
    h2_session_consume_connection(session, size)
    if stream == NULL or stream.is_finished:
        h2_session_consume_stream(session, id, size)
        return 0
    stream.last_ns = thread.now_ns
    if not stream.is_open:
        h2_session_consume_stream(session, id, size)
        return 0
    if not is_stream(stream):
        # A stream of requests gets its window back as they are decided.
        h2_session_consume_stream(session, id, size)
    if not is_stream(stream) and buffer_size(&stream.input) + size > (
            thread.limits.max_message_bytes + PREFIX_BYTES):
        fail(stream, FAIL_MESSAGE_SIZE)
    elif thread.buffered_bytes + size > thread.limits.max_buffered_bytes:
        fail(stream, FAIL_OVERLOADED)
    elif not buffer_add(&stream.input, data, size):
        fail(stream, FAIL_INTERNAL)
    else:
        thread.buffered_bytes += size
        stream.held += size
    return 0


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept nogil:
    """Once an answer is out, the rest of its request is not wanted."""
    cdef stream_t* stream
    if frame.hd.type == NGHTTP2_HEADERS or frame.hd.type == NGHTTP2_DATA:
        # While answers arrive, clients measure the connection by PINGs.
        (<connection_t*> user).ping_strikes = 0
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        stream = <stream_t*> h2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream != NULL and not stream.has_ended:
            h2_submit_rst_stream(session, 0, frame.hd.stream_id, NGHTTP2_NO_ERROR)
    return 0


cdef int on_stream_close(nghttp2_session* session, int32_t id, uint32_t code, void* user) noexcept nogil:
    cdef stream_t* stream = <stream_t*> h2_session_get_stream_user_data(session, id)
    if stream != NULL:
        h2_session_set_stream_user_data(session, id, NULL)
        if stream.has_ended:
            ended_place(stream.connection, id)[0] = id
        stream_close(stream)
    return 0


cdef int session_prepare(thread_t* thread) noexcept nogil:
    cdef nghttp2_session_callbacks* callbacks = NULL
    cdef nghttp2_option* option = NULL
    if h2_session_callbacks_new(&callbacks) or h2_option_new(&option):
        return -1
    h2_session_callbacks_set_on_begin_frame_callback(callbacks, <void*> on_begin_frame)
    h2_session_callbacks_set_on_begin_headers_callback(callbacks, <void*> on_begin_headers)
    h2_session_callbacks_set_on_header_callback(callbacks, <void*> on_header)
    h2_session_callbacks_set_on_frame_recv_callback(callbacks, <void*> on_frame_recv)
    h2_session_callbacks_set_on_frame_send_callback(callbacks, <void*> on_frame_send)
    h2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, <void*> on_data)
    h2_session_callbacks_set_on_stream_close_callback(callbacks, <void*> on_stream_close)
    h2_option_set_no_auto_window_update(option, 1)
    h2_option_set_no_closed_streams(option, 1)
    if h2_option_set_stream_reset_rate_limit != NULL:
        # Its own defence, where it has one, is set for servers to which a reset request is dear, and says INTERNAL_ERROR.
        # Nor does it know of answered streams.
        if thread.limits.processes:
            h2_option_set_stream_reset_rate_limit(option, NO_RESET_LIMIT, NO_RESET_LIMIT)
        else:
            h2_option_set_stream_reset_rate_limit(option, 2 * RESET_BURST, 2 * RESETS_PER_S)
    thread.callbacks = callbacks
    thread.option = option
    return 0
