# The 64-bit hash of a normalised word. n-gram buckets and caches depend on it: a change is a new features revision.
#
# A word of n bytes (normalised, UTF-8) is read as ceil(n / 8) little-endian numbers, the last one padded with zeros:
#
#     h = n * K0;  for each number c:  h = (h ^ c) * K1,  h ^= h >> 32;  then  h *= K2,  h ^= h >> 29   (all mod 2^64)
#
#     K0 = 0x9E3779B97F4A7C15, K1 = 0xD6E8FEB86659FD93, K2 = 0xA0761D6478BD642F
#
# Every step can be undone, so words of the same length up to 8 bytes never share a hash.
from libc.stddef cimport size_t
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "words are hashed as little-endian numbers: this machine is not little-endian"
    #endif
    """


cdef inline uint64_t word_hash_start(size_t n) noexcept nogil:
    return n * <uint64_t> 0x9E3779B97F4A7C15


cdef inline uint64_t word_hash_add(uint64_t h, uint64_t chunk) noexcept nogil:
    h = (h ^ chunk) * <uint64_t> 0xD6E8FEB86659FD93
    return h ^ (h >> 32)


cdef inline uint64_t word_hash_end(uint64_t h) noexcept nogil:
    h *= <uint64_t> 0xA0761D6478BD642F
    return h ^ (h >> 29)


# The hash of n bytes; reads no byte behind them.
cdef inline uint64_t word_hash(const unsigned char* word, size_t n) noexcept nogil:
    cdef uint64_t h = word_hash_start(n)
    cdef uint64_t chunk
    while n >= 8:
        memcpy(&chunk, word, 8)
        h = word_hash_add(h, chunk)
        word += 8
        n -= 8
    if n:
        chunk = 0
        memcpy(&chunk, word, n)
        h = word_hash_add(h, chunk)
    return word_hash_end(h)
