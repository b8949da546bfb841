# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""BERT WordPiece, uncased, identical to the reference tokenizer."""

import os
from pathlib import Path
from typing import NamedTuple

from numpy import empty, int32, uint64

from cython cimport final
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stddef cimport size_t
from libc.stdint cimport INT32_MAX, int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove, memset

from turnout_fastpath.unicode_tables cimport *
from turnout_fastpath.utf8 cimport utf8_next, utf8_put
from turnout_fastpath.word_hash cimport word_hash, word_hash_add, word_hash_end, word_hash_start

cdef extern from * nogil:
    """
    #include <stdlib.h>
    #ifdef TURNOUT_DEBUG
    #define WORDPIECE_ASSERT(condition) do { if (!(condition)) __builtin_trap(); } while (0)
    #else
    #define WORDPIECE_ASSERT(condition) ((void)0)
    #endif
    """
    void WORDPIECE_ASSERT(bint condition)
    int __builtin_ctzll(unsigned long long)
    void* aligned_alloc(size_t alignment, size_t size)


cdef enum:
    MAX_WORD_BYTES = 4 * MAX_WORD_CHARS
    CACHE_WORD_BYTES = 8 * CACHE_CHUNKS
    MAX_BASE = (1 << 24) - 1
    PATIENCE = 64               # cells that the trie's builder looks at again


# The word being read, normalised.
cdef struct word_t:
    unsigned char[MAX_WORD_BYTES + 8] bytes    # of its first MAX_WORD_CHARS characters, padded with zeros to eight
    size_t size
    size_t chars                 # counted on beyond MAX_WORD_CHARS
    size_t start                 # in the text
    size_t fence                 # in `bytes`: marks before it stay where they are


# Reads letters and digits, eight bytes at a time, and writes them in lower case. Returns where they end.
cdef inline size_t read_ascii_word(const unsigned char* text, size_t n_bytes, size_t at, word_t* word) noexcept nogil:
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t chunk, low, letters, digits, others
    cdef size_t size = 0
    cdef unsigned int more = 8
    word.start = at
    while more == 8:
        if n_bytes - at >= 8:
            memcpy(&chunk, text + at, 8)
        else:
            chunk = 0
            memcpy(&chunk, text + at, n_bytes - at)
        # Bit 7 of a byte: bytes below 0x80 that are at least x have it set in (byte + 0x80 - x).
        low = chunk & (0x7F * ones)
        digits = (low + (0x80 - 0x30) * ones) & ~(low + (0x80 - 0x3A) * ones)
        low |= 0x20 * ones
        letters = (low + (0x80 - 0x61) * ones) & ~(low + (0x80 - 0x7B) * ones)
        others = ~((letters | digits) & ~chunk) & (0x80 * ones)
        chunk |= (letters & (0x80 * ones)) >> 2
        if others:
            more = __builtin_ctzll(others) >> 3
            chunk &= (<uint64_t> 1 << (8 * more)) - 1
        if size <= MAX_WORD_CHARS:
            memcpy(word.bytes + size, &chunk, 8)
        size += more
        at += more
    word.chars = size
    word.size = size if size < MAX_WORD_CHARS else MAX_WORD_CHARS
    return at


# Whether a word that ends before `at` for its ASCII characters ends there indeed.
cdef inline bint ends_word(const unsigned char* text, size_t n_bytes, size_t at) noexcept nogil:
    cdef uint8_t action
    if at == n_bytes:
        return True
    action = turnout_byte_action[text[at]]
    if action == ACTION_LEAD:
        action = turnout_char(utf8_next(text, n_bytes, &at)).action
    return action == ACTION_SPACE or action == ACTION_ALONE


# Sets a mark before the marks of a higher combining class at the word's end: canonical ordering (Unicode 15, D108).
cdef void insert_mark(word_t* word, uint32_t code, uint8_t combining) noexcept nogil:
    cdef unsigned char[4] encoded
    cdef int n = utf8_put(code, encoded)
    cdef size_t at = word.size, before, behind
    while at > word.fence:
        before = at - 1
        while (word.bytes[before] & 0xC0) == 0x80:
            before -= 1
        behind = before
        if turnout_char(utf8_next(word.bytes, word.size, &behind)).combining <= combining:
            break
        at = before
    memmove(word.bytes + at + n, word.bytes + at, word.size - at)
    memcpy(word.bytes + at, encoded, n)
    word.size += n


cdef inline void add_char(word_t* word, uint32_t code, uint8_t combining) noexcept nogil:
    word.chars += 1
    if word.chars > MAX_WORD_CHARS:
        return
    if combining:
        insert_mark(word, code, combining)
    else:
        word.size += utf8_put(code, word.bytes + word.size)
    WORDPIECE_ASSERT(word.size <= MAX_WORD_BYTES)


# Reads one word of any characters. Returns where it ends; the word has no characters if there was none to read.
cdef size_t read_word(const unsigned char* text, size_t n_bytes, size_t at, word_t* word) noexcept nogil:
    cdef const unicode_char_t* char_
    cdef const uint32_t* sequence
    cdef uint32_t code, syllable, i
    cdef size_t here
    word.size = 0
    word.chars = 0
    word.fence = 0
    while at < n_bytes:
        here = at
        code = utf8_next(text, n_bytes, &at)
        char_ = turnout_char(code)
        if char_.action == ACTION_SKIP:
            continue
        if char_.action == ACTION_FENCE:
            word.fence = word.size
            continue
        if char_.action == ACTION_SPACE:
            if word.chars:
                at = here
            break
        if word.chars == 0:
            word.start = here
        if char_.action == ACTION_WORD:
            add_char(word, code + char_.value, char_.combining)
        elif char_.action == ACTION_ALONE:
            if word.chars:
                at = here
            else:
                add_char(word, code + char_.value, 0)
            break
        elif char_.action == ACTION_HANGUL:
            # Canonical decomposition of syllables (Unicode 15, section 3.12).
            syllable = code - 0xAC00
            add_char(word, 0x1100 + syllable // 588, 0)
            add_char(word, 0x1161 + syllable % 588 // 28, 0)
            if syllable % 28:
                add_char(word, 0x11A7 + syllable % 28, 0)
        else:
            sequence = turnout_sequences + char_.value
            for i in range(1, sequence[0] + 1):
                add_char(word, sequence[i], turnout_char(sequence[i]).combining)
    memset(word.bytes + word.size, 0, 8)
    return at


# Greedy longest match first: the pieces of a word, or one [UNK] if no piece fits somewhere. Returns their number.
cdef int split_word(const wordpiece_t* wp, const word_t* word, int32_t* ids) noexcept nogil:
    cdef uint32_t base = wp.root
    cdef const trie_cell_t* cell
    cdef size_t at = 0, i, stop
    cdef int32_t longest
    cdef int n = 0
    ids[0] = wp.unk_id
    if word.chars > MAX_WORD_CHARS:
        return 1
    while at < word.size:
        longest = -1
        stop = at
        for i in range(at, word.size):
            cell = &wp.trie[base ^ word.bytes[i]]
            if (cell.link & 0xFF) != word.bytes[i]:
                break
            base = cell.link >> 8
            if cell.id >= 0:
                longest = cell.id
                stop = i + 1
        if longest < 0:
            ids[0] = wp.unk_id
            return 1
        # Entries are whole characters, so there are no more pieces than characters.
        WORDPIECE_ASSERT(n < MAX_WORD_CHARS)
        ids[n] = longest
        n += 1
        at = stop
        base = wp.continued
    return n


cdef inline bint holds(const cached_word_t* slot, const word_t* word) noexcept nogil:
    cdef uint64_t[CACHE_CHUNKS] chunks
    if slot.size != word.size:
        return False
    memcpy(chunks, word.bytes, CACHE_WORD_BYTES)
    if slot.word[0] != chunks[0]:
        return False
    if word.size > 8 and slot.word[1] != chunks[1]:
        return False
    return word.size <= 16 or slot.word[2] == chunks[2]


# Fills a slot; returns False if the word is too long or has too many pieces.
cdef bint fill_slot(cached_word_t* slot, const word_t* word, const int32_t* ids, int n, int n_unknown) noexcept nogil:
    if word.size > CACHE_WORD_BYTES or n > CACHE_PIECES:
        return False
    memset(slot, 0, sizeof(cached_word_t))
    memcpy(slot.word, word.bytes, word.size)
    memcpy(slot.ids, ids, n * sizeof(int32_t))
    slot.size = <uint8_t> word.size
    slot.n_ids = <uint8_t> n
    slot.n_unknown = <uint8_t> n_unknown
    return True


# Adds pieces and hash; returns False, with nothing added, if there is no room for both.
cdef inline bint add_pieces(token_span_t* span, const int32_t* ids, int n, int n_unknown, uint64_t hash) noexcept nogil:
    cdef int i
    if span.words != NULL and span.n_words >= span.max_words:
        return False
    if span.ids != NULL:
        if n > span.max_ids - span.n_ids:
            return False
        span.ids[span.n_ids] = ids[0]
        for i in range(1, n):
            span.ids[span.n_ids + i] = ids[i]
        span.n_ids += n
        span.n_unknown += n_unknown
    if span.words != NULL:
        span.words[span.n_words] = hash
        span.n_words += 1
    return True


cdef inline bint add_word(const wordpiece_t* wp, word_cache_t* cache, const word_t* word,
                          token_span_t* span) noexcept nogil:
    cdef int32_t[MAX_WORD_CHARS] ids
    cdef uint64_t hash, chunk
    cdef cached_word_t* slot = NULL
    cdef int n, n_unknown
    if word.size <= 8:
        memcpy(&chunk, word.bytes, 8)
        hash = word_hash_end(word_hash_add(word_hash_start(word.size), chunk))
    else:
        hash = word_hash(word.bytes, word.size)
    if span.ids == NULL:
        return add_pieces(span, NULL, 0, 0, hash)
    if cache != NULL:
        slot = &cache.slots[hash & cache.mask]
        if holds(slot, word):
            return add_pieces(span, slot.ids, slot.n_ids, slot.n_unknown, hash)
    n = split_word(wp, word, ids)
    # A word is unknown as a whole or not at all.
    n_unknown = ids[0] == wp.unk_id
    if slot != NULL:
        fill_slot(slot, word, ids, n, n_unknown)
    return add_pieces(span, ids, n, n_unknown, hash)


cdef void wordpiece_encode(const wordpiece_t* wp, word_cache_t* cache, const unsigned char* text, size_t n_bytes,
                           token_span_t* span) noexcept nogil:
    cdef word_t word
    cdef size_t at = 0, end
    cdef uint64_t hash
    cdef int32_t id
    cdef uint8_t action
    span.n_ids = 0
    span.n_words = 0
    span.n_unknown = 0
    if cache != NULL and cache.serial != wp.serial:
        memset(cache.slots, 0, (cache.mask + 1) * sizeof(cached_word_t))
        cache.serial = wp.serial
    while at < n_bytes:
        action = turnout_byte_action[text[at]]
        if action == ACTION_SPACE or action == ACTION_SKIP:
            at += 1
            continue
        if action == ACTION_ALONE:
            id = wp.ascii_ids[text[at]]
            hash = word_hash_end(word_hash_add(word_hash_start(1), text[at]))
            if not add_pieces(span, &id, 1, id == wp.unk_id, hash):
                break
            at += 1
            continue
        end = at
        if action == ACTION_WORD:
            end = read_ascii_word(text, n_bytes, at, &word)
        if end == at or not ends_word(text, n_bytes, end):
            end = read_word(text, n_bytes, at, &word)
        if word.chars and not add_word(wp, cache, &word, span):
            at = word.start
            break
        at = end
    span.bytes_read = at


cdef word_cache_t* word_cache_new(int slots) noexcept nogil:
    cdef word_cache_t* cache = <word_cache_t*> malloc(sizeof(word_cache_t))
    if cache == NULL:
        return NULL
    # A slot is a cache line of its own.
    cache.slots = <cached_word_t*> aligned_alloc(64, slots * sizeof(cached_word_t))
    if cache.slots == NULL:
        free(cache)
        return NULL
    memset(cache.slots, 0, slots * sizeof(cached_word_t))
    cache.mask = slots - 1
    cache.serial = 0
    return cache


cdef void word_cache_free(word_cache_t* cache) noexcept nogil:
    if cache != NULL:
        free(cache.slots)
        free(cache)


# A node of the trie whose children wait to be placed: entries `low` to `high` share its path of `depth` bytes.
cdef struct node_t:
    size_t cell
    Py_ssize_t low
    Py_ssize_t high
    Py_ssize_t depth


# Builds a double-array trie, breadth first.
cdef class TrieBuilder:
    cdef trie_cell_t* cells
    cdef uint8_t* taken          # a cell is in use
    cdef uint8_t* based          # a node has this base
    cdef size_t n_cells
    cdef size_t first_free       # where to look for a base, for nodes of one child and of several
    cdef size_t first_roomy
    cdef node_t* nodes           # of which none has children before its turn
    cdef size_t n_nodes
    cdef size_t room             # for nodes

    def __dealloc__(self):
        free(self.nodes)
        free(self.cells)
        free(self.taken)
        free(self.based)

    cdef int reserve(self, size_t n) except -1:
        cdef size_t n_cells = max(n, 2 * self.n_cells)
        cdef void* moved
        cdef size_t i
        if n <= self.n_cells:
            return 0
        moved = realloc(self.cells, n_cells * sizeof(trie_cell_t))
        if moved == NULL:
            raise MemoryError()
        self.cells = <trie_cell_t*> moved
        moved = realloc(self.taken, n_cells)
        if moved == NULL:
            raise MemoryError()
        self.taken = <uint8_t*> moved
        moved = realloc(self.based, n_cells)
        if moved == NULL:
            raise MemoryError()
        self.based = <uint8_t*> moved
        for i in range(self.n_cells, n_cells):
            self.cells[i].link = 0
            self.cells[i].id = -1
        memset(self.taken + self.n_cells, 0, n_cells - self.n_cells)
        memset(self.based + self.n_cells, 0, n_cells - self.n_cells)
        self.n_cells = n_cells
        return 0

    cdef int add_node(self, size_t cell, Py_ssize_t low, Py_ssize_t high, Py_ssize_t depth) except -1:
        cdef void* moved
        if self.n_nodes == self.room:
            moved = realloc(self.nodes, (2 * self.room + 64) * sizeof(node_t))
            if moved == NULL:
                raise MemoryError()
            self.nodes = <node_t*> moved
            self.room = 2 * self.room + 64
        self.nodes[self.n_nodes] = node_t(cell=cell, low=low, high=high, depth=depth)
        self.n_nodes += 1
        return 0

    cdef uint32_t find_base(self, const unsigned char* labels, int n) except 0:
        """A base at which the cells of all labels are free."""
        # Nodes of one child fill the gaps that nodes of many have given up on.
        cdef size_t* first = &self.first_free if n == 1 else &self.first_roomy
        cdef size_t cell, base
        cdef int i
        while self.taken[first[0]]:
            first[0] += 1
            self.reserve((first[0] | 255) + 1)
        cell = first[0]
        while True:
            if cell >= self.n_cells:
                self.reserve((cell | 255) + 1)
            base = cell ^ labels[0]
            if base > MAX_BASE:
                raise ValueError(f"the vocabulary's trie needs base {base}, limit: {MAX_BASE}")
            if base and not self.taken[cell] and not self.based[base]:
                i = 1
                while i < n and not self.taken[base ^ labels[i]]:
                    i += 1
                if i == n:
                    first[0] = max(first[0], cell - min(cell, <size_t> PATIENCE))
                    return <uint32_t> base
            cell += 1

    cdef int build(self, list entries) except -1:
        """Adds sorted (bytes, id)."""
        cdef unsigned char[256] labels
        cdef Py_ssize_t[257] bounds
        cdef Py_ssize_t low, high, depth, i
        cdef size_t cell, at = 0
        cdef uint32_t base
        cdef int n
        cdef bytes entry
        self.reserve(256)
        self.taken[0] = 1
        self.add_node(0, 0, len(entries), 0)
        while at < self.n_nodes:
            cell, low = self.nodes[at].cell, self.nodes[at].low
            high, depth = self.nodes[at].high, self.nodes[at].depth
            at += 1
            entry = entries[low][0]
            if len(entry) == depth:
                self.cells[cell].id = entries[low][1]
                low += 1
            n = 0
            for i in range(low, high):
                entry = entries[i][0]
                if n == 0 or labels[n - 1] != <unsigned char> entry[depth]:
                    labels[n] = entry[depth]
                    bounds[n] = i
                    n += 1
            if n == 0:
                continue
            bounds[n] = high
            base = self.find_base(labels, n)
            self.based[base] = 1
            self.cells[cell].link |= base << 8
            for i in range(n):
                self.taken[base ^ labels[i]] = 1
                self.cells[base ^ labels[i]].link = labels[i]
                self.add_node(base ^ labels[i], bounds[i], bounds[i + 1], depth + 1)
        return 0


class Span(NamedTuple):
    ids: object
    words: object
    bytes_read: int
    n_unknown: int


def read_vocabulary(vocabulary):
    """The pieces of a list, or of a vocab.txt with one piece a line."""
    if not isinstance(vocabulary, (str, os.PathLike)):
        return list(vocabulary)
    text = Path(vocabulary).read_bytes().decode("utf-8")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def check_vocabulary(pieces):
    if "[UNK]" not in pieces:
        raise ValueError(f"the vocabulary of {len(pieces)} pieces has no [UNK]")
    if len(pieces) > INT32_MAX:
        raise ValueError(f"the vocabulary has {len(pieces)} pieces, limit: {INT32_MAX}")
    places = {}
    for i, piece in enumerate(pieces):
        if not piece:
            raise ValueError(f"piece {i} of the vocabulary has 0 characters, needed: at least 1")
        if places.setdefault(piece, i) != i:
            raise ValueError(f"pieces {places[piece]} and {i} of the vocabulary are both {piece!r}, limit: one")


cdef uint64_t n_vocabularies = 0


@final
cdef class WordPiece:
    def __cinit__(self, vocabulary, *, int cache_slots=CACHE_SLOTS):
        global n_vocabularies
        cdef TrieBuilder builder = TrieBuilder()
        cdef const trie_cell_t* cell
        cdef int c
        self.vocabulary = read_vocabulary(vocabulary)
        check_vocabulary(self.vocabulary)
        if cache_slots < 1 or cache_slots & (cache_slots - 1):
            raise ValueError(f"cache_slots is {cache_slots}, needed: a power of two")
        # No normalised word has a NUL, so a piece with one can never match.
        builder.build(sorted((piece.encode(), i) for i, piece in enumerate(self.vocabulary) if "\0" not in piece))
        self.c.trie = builder.cells
        builder.cells = NULL
        n_vocabularies += 1
        self.c.serial = n_vocabularies
        self.c.vocab_size = len(self.vocabulary)
        self.c.unk_id = self.vocabulary.index("[UNK]")
        self.c.root = self.c.trie[0].link >> 8
        self.c.continued = 0
        cell = &self.c.trie[self.c.root ^ 0x23]
        if (cell.link & 0xFF) == 0x23:
            cell = &self.c.trie[(cell.link >> 8) ^ 0x23]
            if (cell.link & 0xFF) == 0x23:
                self.c.continued = cell.link >> 8
        for c in range(128):
            cell = &self.c.trie[self.c.root ^ c]
            self.c.ascii_ids[c] = self.c.unk_id
            if c and (cell.link & 0xFF) == <uint32_t> c and cell.id >= 0:
                self.c.ascii_ids[c] = cell.id
        self.cache = word_cache_new(cache_slots)
        if self.cache == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(<void*> self.c.trie)
        word_cache_free(self.cache)

    @property
    def vocab_size(self):
        return self.c.vocab_size

    @property
    def unk_id(self):
        return self.c.unk_id

    def encode(self, text, max_ids=None):
        cdef token_span_t span
        self.read_text(text, max_ids, 0, True, False, &span)
        return take_ids(&span)

    def encode_many(self, texts, max_ids=None):
        return [self.encode(text, max_ids) for text in texts]

    def words(self, text, max_ids=None):
        cdef token_span_t span
        # Pieces are looked up only if their number matters.
        self.read_text(text, max_ids, None, max_ids is not None, True, &span)
        free(span.ids)
        return take_words(&span)

    def read(self, text, max_ids=None):
        cdef token_span_t span
        self.read_text(text, max_ids, None, True, True, &span)
        return take_ids(&span), take_words(&span), span.bytes_read

    def read_span(self, text, max_ids=None, max_words=None):
        cdef token_span_t span
        self.read_text(text, max_ids, max_words, True, True, &span)
        return Span(take_ids(&span), take_words(&span), span.bytes_read, span.n_unknown)

    # Reads into buffers that the caller frees.
    cdef int read_text(self, object text, object max_ids, object max_words, bint want_ids, bint want_words,
                       token_span_t* span) except -1:
        cdef const unsigned char* data
        cdef Py_ssize_t n
        cdef object held = text                 # owns `data`
        if isinstance(text, str):
            try:
                data = <const unsigned char*> PyUnicode_AsUTF8AndSize(text, &n)
            except UnicodeEncodeError:
                held = (<str> text).encode("utf-8", "surrogatepass")
                data = <const unsigned char*> PyBytes_AS_STRING(held)
                n = PyBytes_GET_SIZE(held)
        elif isinstance(text, bytes):
            data = <const unsigned char*> PyBytes_AS_STRING(text)
            n = PyBytes_GET_SIZE(text)
        else:
            raise TypeError(f"text is {type(text).__name__}, needed: str or bytes")
        if n > INT32_MAX:
            raise ValueError(f"the text has {n} bytes, limit: {INT32_MAX}")
        memset(span, 0, sizeof(token_span_t))
        # No character gives more pieces or words than it has bytes.
        span.max_ids = room_for("max_ids", max_ids, n)
        span.max_words = room_for("max_words", max_words, n)
        if want_ids:
            span.ids = <int32_t*> malloc((<size_t> span.max_ids + 1) * sizeof(int32_t))
        if want_words:
            span.words = <uint64_t*> malloc((<size_t> span.max_words + 1) * sizeof(uint64_t))
        if (want_ids and span.ids == NULL) or (want_words and span.words == NULL):
            free(span.ids)
            free(span.words)
            raise MemoryError()
        wordpiece_encode(&self.c, self.cache, data, n, span)
        return 0


cdef int32_t room_for(str name, object limit, Py_ssize_t n_bytes) except -1:
    if limit is None:
        return <int32_t> n_bytes
    if limit < 0:
        raise ValueError(f"{name} is {limit}, needed: at least 0")
    return <int32_t> min(limit, n_bytes)


# An array of the span's pieces, or word hashes; frees their buffer.
cdef object take_ids(token_span_t* span):
    cdef int32_t[::1] view
    try:
        ids = empty(span.n_ids, int32)
        if span.n_ids:
            view = ids
            memcpy(&view[0], span.ids, span.n_ids * sizeof(int32_t))
        return ids
    finally:
        free(span.ids)


cdef object take_words(token_span_t* span):
    cdef uint64_t[::1] view
    try:
        words = empty(span.n_words, uint64)
        if span.n_words:
            view = words
            memcpy(&view[0], span.words, span.n_words * sizeof(uint64_t))
        return words
    finally:
        free(span.words)
