from turnout_server.doors.decision_port.model cimport *

# To be called some times a second.
cdef void watch_clock(thread_t* thread) noexcept nogil
