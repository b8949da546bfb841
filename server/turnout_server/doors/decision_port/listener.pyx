"""A thread of the decision port: sockets and clock to connections, and the means by which Python steers it."""

from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset
from posix.unistd cimport close, read, write
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

import os

from turnout_server.doors.decision_port.decider cimport Decider, decider_t
from turnout_server.doors.decision_port.calls cimport decide_pending
from turnout_server.doors.decision_port.clock cimport watch_clock
from turnout_server.doors.decision_port.connections cimport (
    bury_dead, connection_kill, connection_open, connection_read, connection_send, connections_end, send_dirty,
)
from turnout_server.doors.decision_port.model cimport *
from turnout_server.doors.decision_port.session cimport session_prepare


cdef extern from "atomics.h" nogil:
    uint64_t monotonic_ns()

cdef extern from "counters.h" nogil:
    void* mailbox_swap(void**, void*)
    void* mailbox_read(void**)
    int flag_read(const int*)
    void flag_set(int*, int)
    uint64_t counter_read(const uint64_t*)

cdef extern from "nghttp2_api.h" nogil:
    const char* nghttp2_load()

cdef extern from "sys/epoll.h" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef extern from "sys/eventfd.h" nogil:
    int eventfd(unsigned int, int)
    int EFD_NONBLOCK, EFD_CLOEXEC

cdef extern from * nogil:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <sys/socket.h>
    /* TCP_NODELAY: an answer is not to wait for the acknowledgement of the one before. Not for Unix sockets. */
    static int accept_call(int listener) {
      int one = 1;
      int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      return fd;
    }
    """
    int accept_call(int)

cdef enum:
    MAX_LISTENERS = 4
    MAX_EVENTS = 256
    READ_BYTES = 64 << 10
    ACCEPTS_A_TURN = 64
    # Decisions until their answers are sent: so many, which nobody minds waiting for, and of a long queue a part that adds
    # little to what they have waited, since each turn reads and writes every busy connection once.
    DECISIONS_A_TURN = 16
    TURNS_A_QUEUE = 8
    # Sockets are read until so many calls were refused, for each eight that the turn before has decided. What comes above it
    # waits in them, so that refusals do not crowd decisions out: at twice of what can be decided there is room for both.
    REFUSALS_AN_EIGHT = 9
    TICK_MS = 100
    ACCEPT_PAUSE_NS = 200 * 1000000


cdef struct listening_t:
    int fd
    bint is_paused


cdef struct loop_t:
    thread_t thread
    listening_t[MAX_LISTENERS] listeners
    int n_listeners
    int wake_fd
    uint64_t resume_ns           # when accepting is tried again; 0: not paused
    uint64_t tick_ns
    void* mailbox                # the decider that Python wants used next
    void* in_use                 # the decider that is used
    int stops                    # set by Python


cdef void pause_accepting(loop_t* loop, bint pauses) noexcept nogil:
    """Out of descriptors or memory: listeners would be ready for ever."""
    cdef epoll_event event
    cdef int i
    for i in range(loop.n_listeners):
        if loop.listeners[i].is_paused != pauses:
            event.events = EPOLLIN
            event.data.ptr = &loop.listeners[i]
            epoll_ctl(loop.thread.epoll_fd, EPOLL_CTL_DEL if pauses else EPOLL_CTL_ADD, loop.listeners[i].fd, &event)
            loop.listeners[i].is_paused = pauses
    loop.resume_ns = loop.thread.now_ns + ACCEPT_PAUSE_NS if pauses else 0


cdef void accept_some(loop_t* loop, int listener) noexcept nogil:
    cdef int i, fd
    for i in range(ACCEPTS_A_TURN):
        fd = accept_call(listener)
        if fd >= 0:
            connection_open(&loop.thread, fd)
        elif errno == EMFILE or errno == ENFILE or errno == ENOBUFS or errno == ENOMEM:
            pause_accepting(loop, True)
            return
        elif errno != EINTR and errno != ECONNABORTED:
            return


cdef void take_mail(loop_t* loop) noexcept nogil:
    cdef void* decider = mailbox_swap(&loop.mailbox, NULL)
    if decider != NULL:
        loop.thread.decider = <decider_t*> decider
        mailbox_swap(&loop.in_use, decider)


cdef void run_loop(loop_t* loop) noexcept nogil:
    cdef thread_t* thread = &loop.thread
    cdef epoll_event[MAX_EVENTS] events
    cdef const epoll_event* event
    cdef uint8_t* memory = <uint8_t*> malloc(READ_BYTES)
    cdef uint64_t drained
    cdef int32_t turn
    cdef uint32_t turns = 0
    cdef int n, i, first
    cdef void* source
    cdef bint is_listener
    if memory == NULL:
        return
    thread.refusals_left = DECISIONS_A_TURN
    while not flag_read(&loop.stops):
        n = epoll_wait(thread.epoll_fd, events, MAX_EVENTS, 0 if thread.first_pending != NULL else TICK_MS)
        thread.now_ns = monotonic_ns()
        take_mail(loop)
        # epoll names what stays ready in one order for ever; nobody is to be the last at each turn.
        turns += 1
        first = <int> (turns % <uint32_t> n) if n > 0 else 0
        for i in range(first, first + n):
            event = &events[i if i < n else i - n]
            source = event.data.ptr
            if source == NULL:
                read(loop.wake_fd, &drained, 8)
                continue
            is_listener = <void*> &loop.listeners[0] <= source < <void*> &loop.listeners[MAX_LISTENERS]
            if is_listener:
                accept_some(loop, (<listening_t*> source).fd)
            elif not (<connection_t*> source).is_dead:
                if event.events & (EPOLLERR | EPOLLHUP):
                    connection_kill(<connection_t*> source)
                    continue
                if event.events & EPOLLOUT:
                    connection_send(<connection_t*> source)
                if event.events & EPOLLIN and thread.refusals_left > 0:
                    connection_read(<connection_t*> source, memory, READ_BYTES)
        turn = max(<int32_t> DECISIONS_A_TURN, thread.n_pending // TURNS_A_QUEUE)
        decide_pending(thread, turn)
        # What was refused too many counts.
        thread.refusals_left = min(0, thread.refusals_left) + REFUSALS_AN_EIGHT * turn // 8
        send_dirty(thread)
        if thread.now_ns - loop.tick_ns > TICK_MS * <uint64_t> 1000000 or thread.told_health != flag_read(
                &thread.health):
            loop.tick_ns = thread.now_ns
            watch_clock(thread)
            send_dirty(thread)
            if loop.resume_ns and thread.now_ns > loop.resume_ns:
                pause_accepting(loop, False)
        bury_dead(thread)
    while thread.connections != NULL:
        connection_kill(thread.connections)
    bury_dead(thread)
    free(memory)


class LibraryMissingError(OSError):
    pass


cdef class Listener:
    cdef loop_t* loop
    cdef Decider decider         # the last that was installed
    cdef list kept               # what the C structs point into
    cdef list retired            # deciders that may still be in use
    cdef object longer_way

    def __cinit__(self, Decider decider not None, longer_way, list failures, *, list sockets, limits):
        cdef const char* missing = nghttp2_load()
        cdef epoll_event event
        cdef thread_t* thread
        cdef int i
        if missing != NULL:
            raise LibraryMissingError(missing.decode())
        self.loop = <loop_t*> calloc(1, sizeof(loop_t))
        if self.loop == NULL:
            raise MemoryError()
        thread = &self.loop.thread
        thread.epoll_fd = self.loop.wake_fd = -1
        self.kept = [sockets]
        self.retired = []
        self.decider = decider
        self.longer_way = longer_way
        thread.longer_way = <void*> longer_way
        thread.decider = &decider.c
        self.loop.in_use = &decider.c
        thread.health = thread.told_health = 2
        thread.random = int.from_bytes(os.urandom(8), "little")
        thread.now_ns = monotonic_ns()
        self.keep_limits(limits)
        self.keep_failures(failures)
        if len(sockets) > MAX_LISTENERS:
            raise ValueError(f"{len(sockets)} sockets, limit: {MAX_LISTENERS}")
        thread.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
        self.loop.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)
        if thread.epoll_fd < 0 or self.loop.wake_fd < 0:
            raise OSError(errno, "epoll or eventfd")
        event.events = EPOLLIN
        event.data.ptr = NULL
        epoll_ctl(thread.epoll_fd, EPOLL_CTL_ADD, self.loop.wake_fd, &event)
        for i, sock in enumerate(sockets):
            self.loop.listeners[i].fd = sock.fileno()
            self.loop.listeners[i].is_paused = True
        self.loop.n_listeners = len(sockets)
        pause_accepting(self.loop, False)
        if session_prepare(thread):
            raise MemoryError()

    def __dealloc__(self):
        if self.loop == NULL:
            return
        connections_end(&self.loop.thread)
        if self.loop.thread.epoll_fd >= 0:
            close(self.loop.thread.epoll_fd)
        if self.loop.wake_fd >= 0:
            close(self.loop.wake_fd)
        free(self.loop)

    cdef int keep_limits(self, limits) except -1:
        cdef limits_t* c = &self.loop.thread.limits
        c.max_message_bytes = limits.max_message_bytes
        c.max_buffered_bytes = limits.max_buffered_bytes
        c.max_pending = limits.max_pending
        c.max_streams = limits.max_streams
        c.max_connections = limits.max_connections
        c.max_batch = limits.max_batch
        c.processes = limits.processes
        c.handshake_ns = round(limits.handshake_s * 1e9)
        c.stall_ns = round(limits.stall_s * 1e9)
        c.keepalive_ns = round(limits.keepalive_s * 1e9)
        c.keepalive_timeout_ns = round(limits.keepalive_timeout_s * 1e9)
        c.min_ping_ns = round(limits.min_ping_s * 1e9)
        c.max_age_ns = 0 if limits.max_age_s is None else round(limits.max_age_s * 1e9)
        c.age_grace_ns = round(limits.age_grace_s * 1e9)
        return 0

    cdef int keep_failures(self, list failures) except -1:
        cdef failure_t* failure
        cdef bytes number, message, details, pushback
        cdef int i
        if len(failures) != N_FAILURES:
            raise ValueError(f"{len(failures)} failures, needed: {N_FAILURES}")
        for i in range(N_FAILURES):
            code, message, details, pushback = failures[i]
            number = str(code).encode()
            self.kept.append((number, message, details, pushback))
            failure = &self.loop.thread.failures[i]
            failure.code = code
            failure.number.data, failure.number.size = PyBytes_AS_STRING(number), PyBytes_GET_SIZE(number)
            failure.message.data, failure.message.size = PyBytes_AS_STRING(message), PyBytes_GET_SIZE(message)
            failure.details.data, failure.details.size = PyBytes_AS_STRING(details), PyBytes_GET_SIZE(details)
            failure.pushback.data, failure.pushback.size = PyBytes_AS_STRING(pushback), PyBytes_GET_SIZE(pushback)
        return 0

    def run(self):
        """Serves on the calling thread until `stop`."""
        with nogil:
            run_loop(self.loop)

    cdef void wake(self) noexcept:
        cdef uint64_t one = 1
        write(self.loop.wake_fd, &one, 8)

    def set_state(self, *, admits=None, serving=None, drains=None, lets_go=None, stops=None):
        if admits is not None:
            flag_set(&self.loop.thread.admits, admits)
        if serving is not None:
            flag_set(&self.loop.thread.health, 1 if serving else 2)
        if drains is not None:
            flag_set(&self.loop.thread.drains, drains)
        if lets_go is not None:
            flag_set(&self.loop.thread.lets_go, lets_go)
        if stops is not None:
            flag_set(&self.loop.stops, stops)
        self.wake()

    def install(self, Decider decider not None):
        self.retired.append(self.decider)
        self.decider = decider
        mailbox_swap(&self.loop.mailbox, &decider.c)
        self.wake()

    def collect_retired(self):
        """Deciders that are out of use since the last call."""
        cdef Decider decider
        cdef decider_t* in_use = <decider_t*> mailbox_read(&self.loop.in_use)
        done, left = [], []
        for decider in self.retired:
            (left if &decider.c == in_use or &self.decider.c != in_use else done).append(decider)
        self.retired = left
        return done

    @property
    def deciders(self):
        return [*self.retired, self.decider]

    @property
    def connections(self):
        return counter_read(&self.loop.thread.open_connections)

    def counts(self):
        cdef thread_t* thread = &self.loop.thread
        cdef int call, i
        return {
            "started": [counter_read(&thread.started[call]) for call in range(N_CALLS)],
            "handled": [[counter_read(&thread.handled[call][i]) for i in range(N_CODES)] for call in range(N_CALLS)],
            "handling": [[counter_read(&thread.handling[call][i]) for i in range(HANDLING_BUCKETS)]
                         for call in range(N_CALLS)],
            "handling_ns": [counter_read(&thread.handling_ns[call]) for call in range(N_CALLS)],
            "shed": counter_read(&thread.shed),
            "refused_connections": counter_read(&thread.refused_connections),
        }
