"""What time brings a connection: keepalive, age, stalls, deadlines, drain and changes of health."""

from libc.stdint cimport uint64_t

from turnout_server.doors.decision_port.answers cimport answer, fail, succeed
from turnout_server.doors.decision_port.buffer cimport buffer_size
from turnout_server.doors.decision_port.calls cimport HEALTH_SERVICE_UNKNOWN, tell_health
from turnout_server.doors.decision_port.connections cimport connection_kill, connection_leave
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.nghttp2 cimport *
from turnout_server.doors.decision_port.streams cimport awaits_decision, is_stream, mark_dirty


cdef extern from "counters.h" nogil:
    int flag_read(const int*)


nghttp2_load()

cdef enum:
    NOTICE_NS = 100 * 1000000    # between the notice of a shutdown and GOAWAY
    LINGER_NS = 1000 * 1000000   # for a peer to hear the last and hang up


cdef void say_goodbye(connection_t* connection) noexcept nogil:
    """Asks the client to go elsewhere: first a notice, then, when new calls have had time to arrive, GOAWAY."""
    if connection.goodbye == 0:
        connection.goodbye = 1
        connection.goodbye_ns = connection.thread.now_ns
        h2_submit_shutdown_notice(<nghttp2_session*> connection.session)
        mark_dirty(connection)


cdef void let_go(stream_t* stream) noexcept nogil:
    if stream.is_pending or not stream.has_answered or awaits_decision(stream):
        fail(stream, FAIL_NOT_SERVING)
    else:
        succeed(stream)


cdef void watch_streams(connection_t* connection) noexcept nogil:
    cdef thread_t* thread = connection.thread
    cdef stream_t* stream = connection.streams
    cdef stream_t* following
    while stream != NULL:
        following = stream.next
        if stream.call == CALL_PROCESS and stream.is_open and not stream.is_finished and flag_read(&thread.lets_go):
            let_go(stream)
        if stream.is_watching and not stream.is_finished:
            if stream.watched != thread.told_health and stream.watched != HEALTH_SERVICE_UNKNOWN:
                tell_health(stream, thread.told_health)
                answer(stream)
        if stream.is_open and stream.deadline_ns and thread.now_ns > stream.deadline_ns and not stream.is_finished:
            if not stream.is_pending:
                fail(stream, FAIL_TOO_LATE)
        elif not stream.is_watching and thread.now_ns - stream.last_ns > thread.limits.stall_ns and not (
                is_stream(stream) and stream.is_open and buffer_size(&stream.out) == 0):
            # Half a request, or an answer that nobody reads.
            h2_submit_rst_stream(<nghttp2_session*> connection.session, 0, stream.id, NGHTTP2_CANCEL)
            mark_dirty(connection)
        stream = following


cdef void watch_connection(connection_t* connection) noexcept nogil:
    cdef thread_t* thread = connection.thread
    cdef limits_t* limits = &thread.limits
    cdef nghttp2_session* session = <nghttp2_session*> connection.session
    cdef uint64_t now = thread.now_ns
    if connection.left_ns:
        if now - connection.left_ns > <uint64_t> LINGER_NS:
            connection_kill(connection)
        return
    if not connection.has_settings and now - connection.opened_ns > limits.handshake_ns:
        connection_kill(connection)
        return
    if buffer_size(&connection.out) and now - connection.wrote_ns > limits.stall_ns:
        connection_kill(connection)
        return
    if connection.is_unread:
        # It may have answered.
        connection.pinged_ns = 0
        connection.read_ns = now
    elif connection.pinged_ns:
        if connection.read_ns >= connection.pinged_ns:
            connection.pinged_ns = 0
        elif now - connection.pinged_ns > limits.keepalive_timeout_ns:
            connection_kill(connection)
            return
    elif now - connection.read_ns > limits.keepalive_ns:
        h2_submit_ping(session, 0, NULL)
        connection.pinged_ns = now
        mark_dirty(connection)
    if flag_read(&thread.drains) or (limits.max_age_ns and now - connection.opened_ns > limits.max_age_ns):
        say_goodbye(connection)
    if connection.goodbye == 1 and now - connection.goodbye_ns > <uint64_t> NOTICE_NS:
        connection.goodbye = 2
        h2_submit_goaway(session, 0, h2_session_get_last_proc_stream_id(session), NGHTTP2_NO_ERROR, NULL, 0)
        mark_dirty(connection)
    elif connection.goodbye == 2 and connection.n_streams == 0 and not connection.is_dirty and buffer_size(
            &connection.out) == 0:
        connection_leave(connection)
        return
    elif (connection.goodbye == 2 and now - connection.goodbye_ns > limits.age_grace_ns
          # Of a drain, the port itself bounds the time.
          and not flag_read(&thread.drains)):
        connection_kill(connection)
        return
    watch_streams(connection)


cdef void watch_clock(thread_t* thread) noexcept nogil:
    cdef connection_t* connection = thread.connections
    cdef connection_t* following
    thread.told_health = flag_read(&thread.health)
    while connection != NULL:
        following = connection.next
        watch_connection(connection)
        connection = following
