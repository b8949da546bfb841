# BERT WordPiece, uncased: normalise, split, hash and look up in one pass over UTF-8.
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t

cdef enum:
    MAX_WORD_CHARS = 100         # the reference's max_input_chars_per_word: a longer word is one [UNK]
    CACHE_SLOTS = 8192           # 512 KB a worker
    CACHE_CHUNKS = 3             # of 8 bytes: words of up to 24 bytes are cached
    CACHE_PIECES = 8


# A cell of a double-array trie over the vocabulary's bytes. The child by byte c of a node of base b is cell b ^ c, if
# that cell's label is c: no two nodes have one base. No word holds the byte 0, the label of free cells.
cdef struct trie_cell_t:
    uint32_t link                # base << 8 | label; base 0: no children
    int32_t id                   # of the entry that ends here, or -1


# A vocabulary: immutable, shared by threads.
cdef struct wordpiece_t:
    const trie_cell_t* trie
    uint32_t root                # bases of the first byte of a word, and of a "##" continuation
    uint32_t continued
    int32_t[128] ascii_ids       # pieces of one ASCII character; [UNK] where there is none
    int32_t vocab_size
    int32_t unk_id
    uint64_t serial              # of this process; tells caches whose pieces they hold


# One cache line: a short word and its pieces. The word itself is compared, so a collision cannot give wrong pieces.
cdef struct cached_word_t:
    uint64_t[CACHE_CHUNKS] word  # padded with zeros
    int32_t[CACHE_PIECES] ids
    uint8_t size                 # bytes; 0: free
    uint8_t n_ids
    uint8_t n_unknown


# Whole words, direct-mapped by their hash. ONE WORKER's: there is no lock. It empties itself when it meets another
# vocabulary.
cdef struct word_cache_t:
    cached_word_t* slots
    uint64_t mask
    uint64_t serial


cdef struct token_span_t:
    int32_t* ids                 # pieces; the caller's buffer. NULL: pieces are not looked up, n_ids stays 0
    int32_t n_ids
    int32_t max_ids
    uint64_t* words              # word_hash of each word, as BERT splits them; the caller's buffer. NULL: none
    int32_t n_words
    int32_t max_words
    int32_t n_unknown            # pieces that are [UNK]
    size_t bytes_read            # the text's size, or the start of the first word that did not fit


# Reads whole words until the text ends or one buffer has no room for the next word: its pieces, or its hash. A caller
# continues at bytes_read; with room for MAX_WORD_CHARS pieces and a word there is always progress. The counts start at
# 0. Adds no [CLS] or [SEP]; "[SEP]" in the text is plain text. Punctuation and CJK characters are words of their own. A
# word of over MAX_WORD_CHARS characters is one [UNK] and has the hash of its first MAX_WORD_CHARS. `cache` may be NULL.
cdef void wordpiece_encode(const wordpiece_t* wp, word_cache_t* cache, const unsigned char* text, size_t n_bytes,
                           token_span_t* span) noexcept nogil

# `slots` is a power of two. NULL: no memory.
cdef word_cache_t* word_cache_new(int slots) noexcept nogil
cdef void word_cache_free(word_cache_t* cache) noexcept nogil


cdef class WordPiece:
    cdef wordpiece_t c
    cdef word_cache_t* cache     # of the Python methods, which hold the GIL; workers have their own
    cdef readonly list vocabulary
    cdef int read_text(self, object text, object max_ids, object max_words, bint want_ids, bint want_words,
                       token_span_t* span) except -1
