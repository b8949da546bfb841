from libc.stddef cimport size_t
from libc.stdint cimport uint8_t

from turnout_server.doors.decision_port.model cimport *

# Takes a socket over; closes it where there is no room.
cdef void connection_open(thread_t* thread, int fd) noexcept nogil

cdef void connection_read(connection_t* connection, uint8_t* memory, size_t size) noexcept nogil

# Hands the socket as much as it takes.
cdef void connection_send(connection_t* connection) noexcept nogil

# Ends it now; its memory goes with `bury_dead`, since events may still name it.
cdef void connection_kill(connection_t* connection) noexcept nogil

# Ends it once the peer has heard the last, or has had a second to.
cdef void connection_leave(connection_t* connection) noexcept nogil

cdef void send_dirty(thread_t* thread) noexcept nogil
cdef void bury_dead(thread_t* thread) noexcept nogil

# Ends all of them, and frees what the thread holds.
cdef void connections_end(thread_t* thread) noexcept nogil
