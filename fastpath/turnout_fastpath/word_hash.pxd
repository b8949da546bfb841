# The 64-bit hash of a normalised word. n-gram buckets and caches depend on it: a change is a new features revision.
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy


cdef inline uint64_t word_hash(const unsigned char* word, size_t n, uint64_t seed) noexcept nogil:
    """Hash of n bytes, eight at a time as little-endian numbers, the last ones padded with zeros.

    h = seed ^ n * K0; for each number c: h = (h ^ c) * K1, h ^= h >> 32; then h *= K2, h ^= h >> 29.
    """
    cdef uint64_t h = seed ^ (n * <uint64_t> 0x9E3779B97F4A7C15)
    cdef uint64_t chunk
    cdef size_t at = 0
    while at + 8 <= n:
        memcpy(&chunk, word + at, 8)
        h = (h ^ chunk) * <uint64_t> 0xD6E8FEB86659FD93
        h ^= h >> 32
        at += 8
    if at < n:
        chunk = 0
        memcpy(&chunk, word + at, n - at)
        h = (h ^ chunk) * <uint64_t> 0xD6E8FEB86659FD93
        h ^= h >> 32
    h *= <uint64_t> 0xA0761D6478BD642F
    h ^= h >> 29
    return h
