from libc.stddef cimport size_t

cdef enum:
    TEXT_FEATURES = 64
    TEXT_REVISION = 1
    # The scan reads this much from the start; longer texts count on in bytes alone.
    TEXT_SCAN_LIMIT = 1 << 20


# One pass over UTF-8 (invalid bytes read as U+FFFD); writes TEXT_FEATURES raw values, in the order of FEATURE_NAMES.
cdef void text_scan(const unsigned char* text, size_t n, float* values) noexcept nogil
