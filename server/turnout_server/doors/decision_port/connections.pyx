"""Connections: their sockets, what comes in and what goes out."""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.unistd cimport close

from turnout_server.doors.decision_port.buffer cimport buffer_add, buffer_free, buffer_size
from turnout_server.doors.decision_port.calls cimport decide_pending
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.nghttp2 cimport *
from turnout_server.doors.decision_port.session cimport MAX_HEADER_BYTES, RESET_BURST
from turnout_server.doors.decision_port.streams cimport mark_dirty, stream_close


cdef extern from "counters.h" nogil:
    void counter_add(uint64_t*, uint64_t)

cdef extern from "sys/socket.h" nogil:
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)
    int shutdown(int, int)
    int MSG_NOSIGNAL, MSG_DONTWAIT, SHUT_WR

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_ctl(int, int, int, epoll_event*)
    int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP


nghttp2_load()

cdef enum:
    STREAM_WINDOW_BYTES = 1 << 20
    CONNECTION_WINDOW_BYTES = 8 << 20
    MAX_UNSENT_BYTES = 1 << 20   # given to a connection whose peer does not read


cdef void connection_open(thread_t* thread, int fd) noexcept nogil:
    cdef connection_t* connection
    cdef nghttp2_settings_entry[3] entries
    cdef epoll_event event
    cdef nghttp2_session* session = NULL
    connection = NULL
    if thread.n_connections < thread.limits.max_connections:
        connection = <connection_t*> calloc(1, sizeof(connection_t))
    if connection == NULL:
        counter_add(&thread.refused_connections, 1)
        close(fd)
        return
    connection.thread = thread
    connection.fd = fd
    connection.resets = RESET_BURST
    connection.opened_ns = connection.read_ns = connection.wrote_ns = connection.resets_ns = thread.now_ns
    entries[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    entries[0].value = thread.limits.max_streams
    entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    entries[1].value = STREAM_WINDOW_BYTES
    entries[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    entries[2].value = MAX_HEADER_BYTES
    event.events = EPOLLIN | EPOLLRDHUP
    event.data.ptr = connection
    if (h2_session_server_new2(&session, <nghttp2_session_callbacks*> thread.callbacks, connection,
                               <nghttp2_option*> thread.option)
            or h2_submit_settings(session, 0, entries, 3)
            or h2_session_set_local_window_size(session, 0, 0, CONNECTION_WINDOW_BYTES)
            or epoll_ctl(thread.epoll_fd, EPOLL_CTL_ADD, fd, &event)):
        h2_session_del(session)
        close(fd)
        free(connection)
        counter_add(&thread.refused_connections, 1)
        return
    connection.session = session
    connection.next = thread.connections
    if connection.next != NULL:
        connection.next.previous = connection
    thread.connections = connection
    thread.n_connections += 1
    counter_add(&thread.open_connections, 1)
    mark_dirty(connection)


cdef void close_streams(connection_t* connection) noexcept nogil:
    while connection.streams != NULL:
        h2_session_set_stream_user_data(<nghttp2_session*> connection.session, connection.streams.id, NULL)
        stream_close(connection.streams)


cdef void connection_leave(connection_t* connection) noexcept nogil:
    """A socket that is closed with bytes unread resets the peer, which may lose the reason that it was sent (RFC 9112,
    section 9.6): what still comes is read and passed over."""
    if connection.is_dead or connection.left_ns:
        return
    if buffer_size(&connection.out) or shutdown(connection.fd, SHUT_WR):
        connection_kill(connection)
        return
    connection.left_ns = connection.thread.now_ns
    close_streams(connection)
    want(connection, False, False)


cdef void connection_kill(connection_t* connection) noexcept nogil:
    """Ends it now; its memory goes with `bury_dead`, since events may still name it."""
    cdef thread_t* thread = connection.thread
    if connection.is_dead:
        return
    connection.is_dead = True
    if connection.previous != NULL:
        connection.previous.next = connection.next
    else:
        thread.connections = connection.next
    if connection.next != NULL:
        connection.next.previous = connection.previous
    thread.n_connections -= 1
    counter_add(&thread.open_connections, <uint64_t> -1)
    close_streams(connection)
    # Not left to `close`: while a forked child shares the socket, epoll would go on telling of it.
    epoll_ctl(thread.epoll_fd, EPOLL_CTL_DEL, connection.fd, NULL)
    close(connection.fd)
    connection.next = thread.dead
    thread.dead = connection


cdef void bury_dead(thread_t* thread) noexcept nogil:
    cdef connection_t* connection
    cdef connection_t** link = &thread.dirty
    # Not from the list of those that have something to send.
    while link[0] != NULL:
        if link[0].is_dead:
            link[0] = link[0].next_dirty
        else:
            link = &link[0].next_dirty
    while thread.dead != NULL:
        connection = thread.dead
        thread.dead = connection.next
        h2_session_del(<nghttp2_session*> connection.session)
        buffer_free(&connection.out)
        free(connection)


cdef void connection_read(connection_t* connection, uint8_t* memory, size_t size) noexcept nogil:
    cdef ssize_t n
    cdef int rounds
    # A bound, so that one connection does not keep the others waiting.
    for rounds in range(4):
        if connection.is_dead or connection.thread.refusals_left <= 0:
            return
        n = recv(connection.fd, memory, size, MSG_DONTWAIT)
        if n == 0 or (n < 0 and errno != EAGAIN and errno != EINTR):
            connection_kill(connection)
            return
        if n < 0:
            return
        connection.read_ns = connection.thread.now_ns
        if connection.left_ns:
            continue
        mark_dirty(connection)
        if h2_session_mem_recv(<nghttp2_session*> connection.session, memory, n) < 0:
            # What HTTP/2 has to say of it may still go out.
            connection_send(connection)
            connection_leave(connection)
            return
        if <size_t> n < size:
            return


cdef void connection_send(connection_t* connection) noexcept nogil:
    """Hands the socket as much as it takes."""
    cdef nghttp2_session* session = <nghttp2_session*> connection.session
    cdef const uint8_t* data = NULL
    cdef ssize_t n
    cdef bint is_full = False
    if connection.left_ns:
        return
    while not connection.is_dead:
        while buffer_size(&connection.out) < MAX_UNSENT_BYTES:
            n = h2_session_mem_send(session, &data)
            if n <= 0:
                break
            if not buffer_add(&connection.out, data, n):
                connection_kill(connection)
                return
        if buffer_size(&connection.out) == 0:
            break
        n = send(connection.fd, connection.out.data + connection.out.begin, buffer_size(&connection.out),
                 MSG_NOSIGNAL | MSG_DONTWAIT)
        if n < 0:
            if errno != EAGAIN and errno != EINTR:
                connection_kill(connection)
                return
            is_full = True
            break
        connection.wrote_ns = connection.thread.now_ns
        connection.out.begin += n
    if connection.is_dead:
        return
    if buffer_size(&connection.out) == 0 and not h2_session_want_read(session) and not h2_session_want_write(session):
        connection_leave(connection)
        return
    # What is read makes more to be sent: a peer that does not read is not read either.
    want(connection, is_full, is_full and buffer_size(&connection.out) >= MAX_UNSENT_BYTES)


cdef void want(connection_t* connection, bint to_write, bint is_unread) noexcept nogil:
    cdef epoll_event event
    if connection.waits_to_write == to_write and connection.is_unread == is_unread:
        return
    connection.waits_to_write = to_write
    connection.is_unread = is_unread
    event.events = 0 if is_unread else EPOLLIN | EPOLLRDHUP
    if to_write:
        event.events |= EPOLLOUT
    event.data.ptr = connection
    epoll_ctl(connection.thread.epoll_fd, EPOLL_CTL_MOD, connection.fd, &event)


cdef void send_dirty(thread_t* thread) noexcept nogil:
    cdef connection_t* connection
    while thread.dirty != NULL:
        connection = thread.dirty
        thread.dirty = connection.next_dirty
        connection.is_dirty = False
        if not connection.is_dead:
            connection_send(connection)


cdef void connections_end(thread_t* thread) noexcept nogil:
    cdef stream_t* stream
    while thread.connections != NULL:
        connection_kill(thread.connections)
    bury_dead(thread)
    decide_pending(thread, thread.n_pending)
    while thread.free_streams != NULL:
        stream = thread.free_streams
        thread.free_streams = stream.next
        buffer_free(&stream.input)
        buffer_free(&stream.out)
        free(stream)
    buffer_free(&thread.scratch)
    if thread.callbacks != NULL:
        h2_session_callbacks_del(<nghttp2_session_callbacks*> thread.callbacks)
        h2_option_del(<nghttp2_option*> thread.option)
    thread.callbacks = thread.option = NULL
