"""A call's stream from its first header until HTTP/2 and the queue of pending calls both know it no more."""

from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from turnout_server.doors.decision_port.buffer cimport buffer_free, buffer_size, buffer_t
from turnout_server.doors.decision_port.model cimport *


cdef extern from "counters.h" nogil:
    void counter_add(uint64_t*, uint64_t)


cdef enum:
    # What a thread keeps for calls to come: 8 MiB at most.
    MAX_FREE_STREAMS = 512
    KEPT_BYTES = 16 << 10


cdef void stream_release(stream_t* stream, thread_t* thread) noexcept nogil:
    """To the free ones, or away if there are many; its buffers are kept unless they are large."""
    cdef buffer_t input = stream.input
    cdef buffer_t out = stream.out
    thread.buffered_bytes -= buffer_size(&input) + stream.counted
    if input.room + out.room > KEPT_BYTES or thread.n_free_streams >= MAX_FREE_STREAMS:
        buffer_free(&input)
        buffer_free(&out)
    if thread.n_free_streams >= MAX_FREE_STREAMS:
        free(stream)
        return
    memset(stream, 0, sizeof(stream_t))
    input.begin = input.end = out.begin = out.end = 0
    stream.input = input
    stream.out = out
    stream.next = thread.free_streams
    thread.free_streams = stream
    thread.n_free_streams += 1


cdef stream_t* stream_new(connection_t* connection, int32_t id) noexcept nogil:
    cdef thread_t* thread = connection.thread
    cdef stream_t* stream = thread.free_streams
    if stream != NULL:
        thread.free_streams = stream.next
        thread.n_free_streams -= 1
    else:
        stream = <stream_t*> calloc(1, sizeof(stream_t))
        if stream == NULL:
            return NULL
    stream.connection = connection
    stream.id = id
    stream.failure = stream.status = -1
    stream.began_ns = stream.last_ns = thread.now_ns
    stream.previous = NULL
    stream.next = connection.streams
    if connection.streams != NULL:
        connection.streams.previous = stream
    connection.streams = stream
    connection.n_streams += 1
    return stream


cdef bint awaits_decision(stream_t* stream) noexcept with gil:
    try:
        return (<object> stream.connection.thread.longer_way).awaits_decision(<uint64_t> stream)
    except BaseException:
        return True


cdef void end_processor(stream_t* stream) noexcept with gil:
    """Envoy has no more to say of a request."""
    try:
        (<object> stream.connection.thread.longer_way).end_process(<uint64_t> stream)
    except BaseException:
        # Nobody waits for it.
        pass


cdef void stream_close(stream_t* stream) noexcept nogil:
    """HTTP/2 knows it no more."""
    cdef connection_t* connection = stream.connection
    cdef thread_t* thread = connection.thread
    if stream.previous != NULL:
        stream.previous.next = stream.next
    else:
        connection.streams = stream.next
    if stream.next != NULL:
        stream.next.previous = stream.previous
    connection.n_streams -= 1
    if stream.is_processing:
        end_processor(stream)
    if stream.is_open and not stream.is_finished:
        # CANCELLED.
        counter_add(&thread.handled[stream.call][1], 1)
    stream.connection = NULL
    if not stream.is_pending:
        stream_release(stream, thread)


cdef void stream_wait(stream_t* stream) noexcept nogil:
    """Puts it behind the others that wait for a decision."""
    cdef thread_t* thread = stream.connection.thread
    if stream.is_pending:
        return
    stream.is_pending = True
    stream.next_pending = NULL
    if thread.last_pending != NULL:
        thread.last_pending.next_pending = stream
    else:
        thread.first_pending = stream
    thread.last_pending = stream
    thread.n_pending += 1


cdef void mark_dirty(connection_t* connection) noexcept nogil:
    if not connection.is_dirty:
        connection.is_dirty = True
        connection.next_dirty = connection.thread.dirty
        connection.thread.dirty = connection
