"""What goes back on a call: its answer as it grows, its status, or why it failed."""

from libc.math cimport INFINITY
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_size, buffer_t
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.nghttp2 cimport *
from turnout_server.doors.decision_port.streams cimport is_stream, mark_dirty, stream_wait

from turnout_server.observability.metrics import HANDLING_BOUNDS_S


cdef extern from "atomics.h" nogil:
    uint64_t monotonic_ns()

cdef extern from "counters.h" nogil:
    void counter_add(uint64_t*, uint64_t)


nghttp2_load()

# Upper bounds of the time from a call's headers to its answer, in nanoseconds: metrics.HANDLING_BOUNDS_S.
cdef uint64_t[HANDLING_BUCKETS] handling_bounds
assert len(HANDLING_BOUNDS_S) == HANDLING_BUCKETS - 1
for _i, _bound in enumerate(HANDLING_BOUNDS_S):
    handling_bounds[_i] = round(_bound * 1e9)


cdef void count_handled(stream_t* stream, int code) noexcept nogil:
    cdef thread_t* thread = stream.connection.thread
    cdef uint64_t taken = monotonic_ns() - stream.began_ns
    cdef int i = 0
    counter_add(&thread.handled[stream.call][code], 1)
    while i < HANDLING_BUCKETS - 1 and taken > handling_bounds[i]:
        i += 1
    counter_add(&thread.handling[stream.call][i], 1)
    counter_add(&thread.handling_ns[stream.call], taken)


# Of what lives as long as the listener.
cdef const char* NOTE = b"this port speaks gRPC: POST with content-type application/grpc\n"
cdef uint8_t NO_COPY = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE


cdef int failure_headers(const failure_t* failure, uint8_t flags, nghttp2_nv* pairs) noexcept nogil:
    """At most 5 pairs: what the trailers of a failed call say."""
    cdef int n = 2
    pairs[0] = header(text_of(b"grpc-status"), failure.number, flags)
    pairs[1] = header(text_of(b"grpc-message"), failure.message, flags)
    if failure.details.size:
        pairs[n] = header(text_of(b"grpc-status-details-bin"), failure.details, flags)
        n += 1
    if failure.pushback.size:
        pairs[n] = header(text_of(b"grpc-retry-pushback-ms"), failure.pushback, flags)
        n += 1
    # gRPC compression: none is known.
    if failure.code == 12:
        pairs[n] = header(text_of(b"grpc-accept-encoding"), text_of(b"identity"), NO_COPY)
        n += 1
    return n


cdef void fail_with(stream_t* stream, const failure_t* failure, uint8_t flags) noexcept nogil:
    """Ends a call whose answer has not begun: trailers alone."""
    cdef nghttp2_session* session = <nghttp2_session*> stream.connection.session
    cdef nghttp2_nv[7] pairs
    pairs[0] = header(text_of(b":status"), text_of(b"200"), NO_COPY)
    pairs[1] = header(text_of(b"content-type"), text_of(b"application/grpc"), NO_COPY)
    cdef int n = 2 + failure_headers(failure, flags, pairs + 2)
    count_handled(stream, failure.code)
    stream.has_answered = stream.is_finished = True
    h2_submit_response(session, stream.id, pairs, n, NULL)
    mark_dirty(stream.connection)


cdef void fail(stream_t* stream, int which) noexcept nogil:
    """Ends a call with one of the failures that are worded beforehand."""
    cdef thread_t* thread = stream.connection.thread
    if which == FAIL_OVERLOADED:
        counter_add(&thread.shed, 1)
        thread.refusals_left -= 1
        thread.random = thread.random * <uint64_t> 6364136223846793005 + <uint64_t> 1442695040888963407
        which += <int> (thread.random >> 61)
    if not stream.has_answered:
        fail_with(stream, &thread.failures[which], NO_COPY)
        return
    count_handled(stream, thread.failures[which].code)
    stream.status = which
    stream.is_finished = True
    stream_resume(stream)


cdef ssize_t read_note(nghttp2_session* session, int32_t id, uint8_t* memory, size_t size, uint32_t* flags,
                       nghttp2_data_source* source, void* user) noexcept nogil:
    """HTTP/2 asks for more of what a caller is told that does not speak gRPC."""
    cdef stream_t* stream = <stream_t*> source.ptr
    cdef slice_t note = text_of(NOTE)
    cdef size_t n = min(size, note.size - stream.cursor)
    memcpy(memory, note.data + stream.cursor, n)
    stream.cursor += n
    stream.last_ns = stream.connection.thread.now_ns
    if stream.cursor == note.size:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
    return n


cdef void refuse_http(stream_t* stream) noexcept nogil:
    """HTTP's own answer to a whole request that is no call of gRPC."""
    cdef nghttp2_nv[3] pairs
    cdef nghttp2_data_provider provider
    cdef int n = 2
    pairs[0] = header(text_of(b":status"), text_of(b"415" if stream.is_post else b"405"), NO_COPY)
    pairs[1] = header(text_of(b"content-type"), text_of(b"text/plain"), NO_COPY)
    if not stream.is_post:
        pairs[n] = header(text_of(b"allow"), text_of(b"POST"), NO_COPY)
        n += 1
    provider.source.ptr = stream
    provider.read_callback = read_note
    stream.has_answered = stream.is_finished = True
    h2_submit_response(<nghttp2_session*> stream.connection.session, stream.id, pairs, n,
                       NULL if stream.is_head else &provider)
    mark_dirty(stream.connection)


cdef void stream_resume(stream_t* stream) noexcept nogil:
    if stream.is_deferred:
        stream.is_deferred = False
        h2_session_resume_data(<nghttp2_session*> stream.connection.session, stream.id)
    mark_dirty(stream.connection)


cdef void count_out(stream_t* stream) noexcept nogil:
    stream.connection.thread.buffered_bytes += buffer_size(&stream.out) - stream.counted
    stream.counted = buffer_size(&stream.out)


cdef ssize_t read_out(nghttp2_session* session, int32_t id, uint8_t* memory, size_t size, uint32_t* flags,
                      nghttp2_data_source* source, void* user) noexcept nogil:
    """HTTP/2 asks for more of an answer."""
    cdef stream_t* stream = <stream_t*> source.ptr
    cdef size_t n = min(size, buffer_size(&stream.out))
    cdef size_t counted = min(n, stream.counted)
    cdef nghttp2_nv[5] pairs
    cdef int n_pairs
    if n:
        memcpy(memory, stream.out.data + stream.out.begin, n)
        stream.out.begin += n
        stream.counted -= counted
        stream.connection.thread.buffered_bytes -= counted
        stream.last_ns = stream.connection.thread.now_ns
    if buffer_size(&stream.out) == 0 and stream.is_finished:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
        if stream.status < 0:
            pairs[0] = header(text_of(b"grpc-status"), text_of(b"0"),
                              NO_COPY)
            n_pairs = 1
        else:
            n_pairs = failure_headers(&stream.connection.thread.failures[stream.status], NO_COPY, pairs)
        h2_submit_trailer(session, id, pairs, n_pairs)
        return n
    if n == 0:
        stream.is_deferred = True
        return NGHTTP2_ERR_DEFERRED
    if is_stream(stream) and buffer_size(&stream.input) and buffer_size(&stream.out) < MAX_STREAM_OUT_BYTES:
        # It had to wait until its answers were read.
        stream_wait(stream)
    return n


cdef void answer(stream_t* stream) noexcept nogil:
    """Sends what `out` holds, now and later."""
    cdef nghttp2_nv[2] pairs
    cdef nghttp2_data_provider provider
    count_out(stream)
    if stream.has_answered:
        stream_resume(stream)
        return
    pairs[0] = header(text_of(b":status"), text_of(b"200"),
                      NO_COPY)
    pairs[1] = header(text_of(b"content-type"), text_of(b"application/grpc"),
                      NO_COPY)
    provider.source.ptr = stream
    provider.read_callback = read_out
    stream.has_answered = True
    h2_submit_response(<nghttp2_session*> stream.connection.session, stream.id, pairs, 2, &provider)
    mark_dirty(stream.connection)


cdef void succeed(stream_t* stream) noexcept nogil:
    """The answer is whole."""
    count_handled(stream, 0)
    stream.is_finished = True
    answer(stream)


cdef bint ask_python(stream_t* stream, int call, bint is_drawn, slice_t message, double remaining_s,
                     buffer_t* out) noexcept with gil:
    """True with the answer added to `out`; False with the call ended."""
    cdef thread_t* thread = stream.connection.thread
    cdef failure_t failure
    cdef bytes answered, number, text, details, pushback
    try:
        given = PyBytes_FromStringAndSize(message.data, message.size)
        result = (<object> thread.longer_way)(call, is_drawn, given, None if remaining_s == INFINITY else remaining_s)
        if isinstance(result, bytes):
            answered = result
            if not buffer_add(out, PyBytes_AS_STRING(answered), PyBytes_GET_SIZE(answered)):
                raise MemoryError()
            return True
        code, text, details, pushback = result
        if not stream.has_answered:
            number = str(code).encode()
            failure.code = code
            failure.number = slice_of(number)
            failure.message = slice_of(text)
            failure.details = slice_of(details)
            failure.pushback = slice_of(pushback)
            # Copied: it is gone before it is sent.
            fail_with(stream, &failure, NGHTTP2_NV_FLAG_NONE)
            return False
        fail(stream, FAIL_TOO_LATE if code == 4 else FAIL_INTERNAL)
    except BaseException:
        # The callable words every failure; what is left is memory.
        fail(stream, FAIL_INTERNAL)
    return False


cdef bint ask_processor(stream_t* stream, slice_t message, buffer_t* out) noexcept with gil:
    """True with Python's answer to one message of Envoy's added to `out`; False with the call ended."""
    cdef thread_t* thread = stream.connection.thread
    cdef bytes answered
    try:
        stream.is_processing = True
        given = PyBytes_FromStringAndSize(message.data, message.size)
        is_full = thread.n_pending >= thread.limits.max_pending
        answered = (<object> thread.longer_way).process(<uint64_t> stream, given, is_full)
        if not buffer_add(out, PyBytes_AS_STRING(answered), PyBytes_GET_SIZE(answered)):
            raise MemoryError()
        return True
    except BaseException:
        # The callable answers whatever it is given; what is left is memory, and bytes that are no message.
        fail(stream, FAIL_INTERNAL)
    return False


cdef slice_t slice_of(bytes text):
    cdef slice_t slice
    slice.data = PyBytes_AS_STRING(text)
    slice.size = PyBytes_GET_SIZE(text)
    return slice
