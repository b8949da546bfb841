from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_WORD_CHARS = 100
    MAX_WORD_BYTES = 4 * MAX_WORD_CHARS
    CACHE_SLOTS = 4096
    CACHE_WORD_BYTES = 22
    CACHE_PIECES = 8


cdef struct piece_t:
    uint64_t hash                # of the bytes, seeded by whether it continues a word; 0: free
    uint32_t offset              # into `bytes`
    uint32_t size
    int32_t id


# A vocabulary: immutable, shared by threads.
cdef struct wordpiece_t:
    piece_t* table               # open addressing, a power of two
    uint64_t mask
    unsigned char* bytes
    uint32_t longest             # bytes of the longest piece
    int32_t vocab_size
    int32_t unk_id


# One cache line: a short word and its pieces. The bytes are compared, so a collision cannot give wrong pieces.
cdef struct cached_word_t:
    uint64_t hash
    uint8_t size                 # 0: free
    uint8_t n_ids
    unsigned char[CACHE_WORD_BYTES] word
    int32_t[CACHE_PIECES] ids


# One worker's cache of whole words.
cdef struct word_cache_t:
    cached_word_t* slots
    uint64_t mask


cdef struct token_span_t:
    int32_t* ids                 # pieces; the caller's buffer
    int32_t n_ids
    int32_t max_ids
    uint64_t* words              # hash of each normalised word; the caller's buffer
    int32_t n_words
    int32_t max_words
    int32_t n_unknown            # pieces that are [UNK]
    size_t bytes_read            # of the text; before a word whose pieces no longer fit


# Appends nothing: `span`'s counts start from 0. A word has at most MAX_WORD_CHARS characters, or is one [UNK].
cdef void wordpiece_encode(const wordpiece_t* wp, word_cache_t* cache, const unsigned char* text, size_t n_bytes,
                           token_span_t* span) noexcept nogil

cdef word_cache_t* word_cache_new(int slots) noexcept nogil
cdef void word_cache_free(word_cache_t* cache) noexcept nogil


cdef class WordPiece:
    cdef wordpiece_t c
    cdef word_cache_t* cache
    cdef readonly list vocabulary
