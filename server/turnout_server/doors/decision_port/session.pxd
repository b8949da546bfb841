from turnout_server.doors.decision_port.model cimport *

cdef enum:
    MAX_HEADER_BYTES = 16 << 10
    RESET_BURST = 1000

# Makes what all sessions of a thread share; -1 if there is no memory.
cdef int session_prepare(thread_t* thread) noexcept nogil
