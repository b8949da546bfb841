from libc.stddef cimport size_t

from turnout_fastpath.core cimport slice_t
from turnout_server.doors.decision_port.model cimport *

cdef enum:
    PREFIX_BYTES = 5             # of a gRPC message: compressed or not, and its size
    HEALTH_SERVICE_UNKNOWN = 3

# 1 with the next whole message of the request's body, 0 if there is none yet, -1 if it can be none, -2 if it is too large.
cdef int next_message(stream_t* stream, slice_t* message) noexcept nogil

# Gives a stream of requests at most `n` bytes of its window back.
cdef void give_back(stream_t* stream, size_t n) noexcept nogil

# Decides pending calls, at most `most`.
cdef void decide_pending(thread_t* thread, int most) noexcept nogil

# Adds a HealthCheckResponse to what a watching caller gets.
cdef void tell_health(stream_t* stream, int status) noexcept nogil
