# HTTP/2 connections of one thread, and the gRPC calls on them. Nothing here is shared between threads but what
# `counters.h` reads and sets.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint64_t

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.decision_port.buffer cimport buffer_t
from turnout_server.doors.decision_port.decider cimport decider_t

cdef enum:
    CALL_UNKNOWN = 0
    CALL_ROUTE = 1
    CALL_BATCH = 2
    CALL_STREAM = 3
    CALL_HEALTH_CHECK = 4
    CALL_HEALTH_WATCH = 5
    CALL_PROCESS = 6             # Envoy's external processor
    N_CALLS = 7

    # An item of a batch, for Python alone.
    CALL_ITEM = 7

    N_CODES = 17                 # of gRPC

    ENDED_STREAMS = 64           # of a connection that are remembered; a power of two
    HANDLING_BUCKETS = 15


# Failures that are worded once, before the port opens.
cdef enum:
    FAIL_OVERLOADED = 0
    FAIL_NOT_SERVING = 8         # before it, eight of FAIL_OVERLOADED, each with another time to come back
    FAIL_TOO_LATE = 9
    FAIL_UNKNOWN_METHOD = 10
    FAIL_COMPRESSED = 11
    FAIL_MESSAGE_SIZE = 12
    FAIL_FRAMING = 13
    FAIL_UNKNOWN_SERVICE = 14
    FAIL_INTERNAL = 15
    N_FAILURES = 16


cdef struct failure_t:
    int32_t code                 # of gRPC
    slice_t number               # the code as text
    slice_t message              # percent-encoded
    slice_t details              # grpc-status-details-bin; empty: none
    slice_t pushback             # grpc-retry-pushback-ms; empty: none


cdef struct limits_t:
    size_t max_message_bytes
    size_t max_buffered_bytes    # of unanswered requests and unread answers, over all connections of the thread
    int32_t max_pending          # calls that wait for their decision
    int32_t max_streams          # a connection
    int32_t max_connections
    int32_t max_batch
    bint processes               # whether Envoy's external processor is served
    uint64_t handshake_ns        # until the client's preface is there
    uint64_t stall_ns            # without a byte of an unfinished request, or of an answer that waits to be read
    uint64_t keepalive_ns        # of silence until a PING
    uint64_t keepalive_timeout_ns
    uint64_t min_ping_ns         # between a client's PINGs without a call
    uint64_t max_age_ns          # 0: none
    uint64_t age_grace_ns


cdef struct stream_t:
    connection_t* connection     # NULL once HTTP/2 has closed it
    stream_t* next               # of the connection's streams, or of the free ones
    stream_t* previous
    stream_t* next_pending
    int32_t id
    int32_t call                 # CALL_
    int32_t failure              # FAIL_ that its headers ask for, or -1
    int32_t status               # FAIL_ that its trailers tell, or -1 for OK
    bint is_post
    bint is_head
    bint is_grpc
    bint is_open                 # its headers are whole
    bint has_ended               # the client sends no more
    bint is_pending
    bint has_answered            # response headers are submitted
    bint is_finished             # nothing more will be added to `out`
    bint is_deferred             # HTTP/2 waits for more of `out`
    bint is_watching
    int32_t watched              # the health status told last
    bint is_processing           # Python knows it by its address
    uint64_t began_ns
    uint64_t last_ns             # when the last of its bytes came or went
    uint64_t deadline_ns         # 0: none
    size_t header_bytes
    size_t cursor                # a batch's bytes that are decided, or those of HTTP's own answer that are sent
    size_t held                  # bytes of a stream of requests whose window is not given back yet
    size_t counted               # bytes of `out` that are in the thread's `buffered_bytes`
    buffer_t input
    buffer_t out


cdef struct connection_t:
    thread_t* thread
    connection_t* next
    connection_t* previous
    connection_t* next_dirty
    void* session
    int fd
    bint is_dirty                # has something to send
    bint is_dead
    uint64_t left_ns             # when the last was said to it; 0: not yet
    bint waits_to_write
    bint is_unread               # until it takes what waits for it, nothing is read from it
    bint has_settings            # the client's preface was read
    int32_t n_streams
    stream_t* streams
    buffer_t out
    uint64_t opened_ns
    uint64_t read_ns
    uint64_t wrote_ns            # when the socket last took bytes
    uint64_t pinged_ns           # 0: no PING is out
    uint64_t client_pinged_ns
    int32_t[ENDED_STREAMS] ended # streams that the client had ended or reset before they were closed, by their number
    int32_t last_id              # the greatest stream that the client has opened
    int32_t skipped_from         # the streams it left out last, which it may not open any more; 0: none
    int32_t skipped_to
    int32_t ping_strikes
    int32_t n_continuations
    int32_t n_empty_frames
    double resets                # tokens left
    uint64_t resets_ns
    int32_t goodbye              # 0: none; 1: the shutdown notice is out; 2: GOAWAY is out
    uint64_t goodbye_ns


cdef struct thread_t:
    int epoll_fd
    decider_t* decider
    limits_t limits
    failure_t[N_FAILURES] failures
    void* longer_way             # Python's callable; see port.py
    connection_t* connections
    connection_t* dirty
    connection_t* dead
    int32_t n_connections
    stream_t* first_pending
    stream_t* last_pending
    int32_t n_pending
    stream_t* free_streams
    int32_t n_free_streams
    int32_t refusals_left        # of this turn; below 1, nothing is read: see REFUSALS_AN_EIGHT
    uint64_t now_ns
    uint64_t random
    size_t buffered_bytes
    buffer_t scratch
    int admits                   # set by Python; so the next three
    int health                   # wire number of the serving status
    int drains
    int lets_go                  # Envoy's streams are ended: it carries on without
    int32_t told_health
    void* callbacks
    void* option
    # Read by Python.
    uint64_t[N_CALLS] started
    uint64_t[N_CALLS][N_CODES] handled
    uint64_t[N_CALLS][HANDLING_BUCKETS] handling
    uint64_t[N_CALLS] handling_ns
    uint64_t shed
    uint64_t refused_connections
    uint64_t open_connections
