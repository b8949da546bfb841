from turnout_server.doors.decision_port.model cimport *

cdef enum:
    MAX_HEADER_BYTES = 16 << 10
    # A request that is reset has cost no more than another, and callers with short deadlines reset many: the bound is
    # far above what they do, and far below what an attacker would.
    RESET_BURST = 10_000
    RESETS_PER_S = 1000

# Makes what all sessions of a thread share; -1 if there is no memory.
cdef int session_prepare(thread_t* thread) noexcept nogil
