from libc.stdint cimport int32_t

from turnout_server.doors.decision_port.model cimport *

# Requests come on it one after the other.
cdef inline bint is_stream(const stream_t* stream) noexcept nogil:
    return stream.call == CALL_STREAM or stream.call == CALL_PROCESS

# Whether Envoy waits, on this stream, for a decision.
cdef bint awaits_decision(stream_t* stream) noexcept with gil

cdef stream_t* stream_new(connection_t* connection, int32_t id) noexcept nogil

# HTTP/2 knows it no more.
cdef void stream_close(stream_t* stream) noexcept nogil

# To the free ones; its buffers are kept unless they are large.
cdef void stream_release(stream_t* stream, thread_t* thread) noexcept nogil

# Puts it behind the others that wait for a decision.
cdef void stream_wait(stream_t* stream) noexcept nogil

# The connection has something to send.
cdef void mark_dirty(connection_t* connection) noexcept nogil
