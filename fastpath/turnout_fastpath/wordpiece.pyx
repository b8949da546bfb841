"""BERT WordPiece, uncased: normalise, split and look up in one pass over UTF-8, identical to the reference tokenizer."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from turnout_fastpath.utf8 cimport utf8_next, utf8_put
from turnout_fastpath.word_hash cimport word_hash


cdef extern from "unicode_tables.h" nogil:
    const uint8_t[128] bert_ascii_kind
    const uint8_t[128] bert_ascii_lower
    unsigned bert_entry(uint32_t)
    const unsigned short* bert_starts
    const uint32_t* bert_pool
    unsigned BERT_WORD, BERT_REMOVED, BERT_SPACE, BERT_ALONE, BERT_HANGUL, BERT_EXPANSION


cdef uint64_t WHOLE = 0                          # seeds of word_hash
cdef uint64_t CONTINUED = 0x5851F42D4C957F2D


# The word being gathered: its normalised bytes, and where in the text it began.
cdef struct word_t:
    unsigned char[MAX_WORD_BYTES + 8] bytes
    size_t size
    int32_t chars                # counted on beyond MAX_WORD_CHARS
    size_t start


cdef inline const piece_t* find_piece(const wordpiece_t* wp, const unsigned char* bytes, size_t n,
                                      uint64_t hash) noexcept nogil:
    cdef uint64_t at = hash & wp.mask
    cdef const piece_t* piece
    while wp.table[at].hash:
        piece = &wp.table[at]
        if piece.hash == hash and piece.size == n and memcmp(wp.bytes + piece.offset, bytes, n) == 0:
            return piece
        at = (at + 1) & wp.mask
    return NULL


cdef int split_word(const wordpiece_t* wp, const word_t* word, int32_t* ids) noexcept nogil:
    """Greedy longest match first; returns the number of pieces, one [UNK] if some part is in no piece."""
    cdef size_t start = 0, stop
    cdef uint64_t seed = WHOLE
    cdef const piece_t* piece
    cdef int n = 0
    if word.chars > MAX_WORD_CHARS:
        ids[0] = wp.unk_id
        return 1
    while start < word.size:
        stop = word.size
        if stop - start > wp.longest:
            stop = start + wp.longest
        piece = NULL
        while stop > start:
            # Only at the end of a character.
            if stop == word.size or (word.bytes[stop] & 0xC0) != 0x80:
                piece = find_piece(wp, word.bytes + start, stop - start,
                                   word_hash(word.bytes + start, stop - start, seed))
                if piece != NULL:
                    break
            stop -= 1
        if piece == NULL:
            ids[0] = wp.unk_id
            return 1
        ids[n] = piece.id
        n += 1
        start = stop
        seed = CONTINUED
    return n


cdef int end_word(const wordpiece_t* wp, word_cache_t* cache, word_t* word, token_span_t* span) noexcept nogil:
    """Looks a whole word up and adds it to the span; returns 0, with nothing added, if it does not fit."""
    cdef int32_t[MAX_WORD_CHARS] split
    cdef uint64_t hash = word_hash(word.bytes, word.size, WHOLE)
    cdef cached_word_t* slot = &cache.slots[hash & cache.mask]
    cdef const int32_t* ids
    cdef int n
    if slot.hash == hash and slot.size == word.size and memcmp(slot.word, word.bytes, word.size) == 0:
        ids = slot.ids
        n = slot.n_ids
    else:
        n = split_word(wp, word, split)
        ids = split
        if word.size <= CACHE_WORD_BYTES and n <= CACHE_PIECES:
            slot.hash = hash
            slot.size = <uint8_t> word.size
            slot.n_ids = <uint8_t> n
            memcpy(slot.word, word.bytes, word.size)
            memcpy(slot.ids, ids, n * sizeof(int32_t))
    if span.n_ids + n > span.max_ids or span.n_words == span.max_words:
        return 0
    memcpy(span.ids + span.n_ids, ids, n * sizeof(int32_t))
    span.n_ids += n
    # A word is unknown as a whole or not at all.
    span.n_unknown += ids[0] == wp.unk_id
    span.words[span.n_words] = hash
    span.n_words += 1
    word.size = 0
    word.chars = 0
    return 1


cdef inline void add_char(word_t* word, uint32_t code) noexcept nogil:
    word.chars += 1
    if word.chars <= MAX_WORD_CHARS:
        word.size += utf8_put(code, word.bytes + word.size)


# Adds a decoded character that is no plain word character; returns 0 if a word that it ends does not fit.
cdef int add_special(const wordpiece_t* wp, word_cache_t* cache, word_t* word, uint32_t code, unsigned entry,
                     size_t start, token_span_t* span) noexcept nogil:
    cdef uint32_t syllable
    cdef unsigned i, kind
    if entry == BERT_REMOVED:
        return 1
    if entry == BERT_SPACE:
        return end_word(wp, cache, word, span) if word.chars else 1
    if entry == BERT_ALONE:
        return add_alone(wp, cache, word, code, start, span)
    if word.chars == 0:
        word.start = start
    if entry == BERT_HANGUL:
        # Canonical decomposition (Unicode 15, section 3.12).
        syllable = code - 0xAC00
        add_char(word, 0x1100 + syllable // 588)
        add_char(word, 0x1161 + syllable % 588 // 28)
        if syllable % 28:
            add_char(word, 0x11A7 + syllable % 28)
        return 1
    for i in range(bert_starts[entry - BERT_EXPANSION], bert_starts[entry - BERT_EXPANSION + 1]):
        kind = bert_pool[i] & 7
        if kind == BERT_ALONE:
            if not add_alone(wp, cache, word, bert_pool[i] >> 3, start, span):
                return 0
        else:
            add_char(word, bert_pool[i] >> 3)
    return 1


cdef inline int add_alone(const wordpiece_t* wp, word_cache_t* cache, word_t* word, uint32_t code, size_t start,
                          token_span_t* span) noexcept nogil:
    """Ends the word and adds a character that is a word of its own."""
    if word.chars and not end_word(wp, cache, word, span):
        return 0
    word.start = start
    word.chars = 1
    word.size = utf8_put(code, word.bytes)
    return end_word(wp, cache, word, span)


cdef void wordpiece_encode(const wordpiece_t* wp, word_cache_t* cache, const unsigned char* text, size_t n_bytes,
                           token_span_t* span) noexcept nogil:
    cdef word_t word
    cdef size_t at = 0, start
    cdef uint32_t code
    cdef unsigned entry
    word.size = 0
    word.chars = 0
    word.start = 0
    span.n_ids = 0
    span.n_words = 0
    span.n_unknown = 0
    while at < n_bytes:
        start = at
        if text[at] < 128:
            entry = bert_ascii_kind[text[at]]
            code = bert_ascii_lower[text[at]]
            at += 1
            if entry == BERT_WORD:
                if word.chars == 0:
                    word.start = start
                word.chars += 1
                if word.chars <= MAX_WORD_CHARS:
                    word.bytes[word.size] = <unsigned char> code
                    word.size += 1
                continue
        else:
            code = utf8_next(text, n_bytes, &at)
            entry = bert_entry(code)
            if entry == BERT_WORD:
                if word.chars == 0:
                    word.start = start
                add_char(&word, code)
                continue
        if not add_special(wp, cache, &word, code, entry, start, span):
            span.bytes_read = word.start
            return
    if word.chars and not end_word(wp, cache, &word, span):
        span.bytes_read = word.start
        return
    span.bytes_read = n_bytes


cdef word_cache_t* word_cache_new(int slots) noexcept nogil:
    cdef word_cache_t* cache = <word_cache_t*> malloc(sizeof(word_cache_t))
    if cache == NULL:
        return NULL
    cache.slots = <cached_word_t*> calloc(slots, sizeof(cached_word_t))
    cache.mask = slots - 1
    if cache.slots == NULL:
        free(cache)
        return NULL
    return cache


cdef void word_cache_free(word_cache_t* cache) noexcept nogil:
    if cache != NULL:
        free(cache.slots)
        free(cache)


cdef class WordPiece:
    def __cinit__(self, vocabulary, *, int cache_slots=CACHE_SLOTS):
        cdef bytearray pool = bytearray()
        cdef Py_ssize_t i
        cdef size_t slots = 64
        cdef uint64_t at
        cdef const unsigned char* raw
        cdef bytes encoded
        self.vocabulary = list(vocabulary)
        if "[UNK]" not in self.vocabulary:
            raise ValueError(f"the vocabulary of {len(self.vocabulary)} pieces has no [UNK]")
        if len(set(self.vocabulary)) != len(self.vocabulary):
            twice = sorted(piece for piece in set(self.vocabulary) if self.vocabulary.count(piece) > 1)
            raise ValueError(f"the vocabulary has {twice[0]!r} more than once")
        if cache_slots < 1 or cache_slots & (cache_slots - 1):
            raise ValueError(f"cache_slots is {cache_slots}, needed: a power of two")
        while slots < 4 * len(self.vocabulary):
            slots *= 2
        self.c.vocab_size = len(self.vocabulary)
        self.c.unk_id = self.vocabulary.index("[UNK]")
        self.c.mask = slots - 1
        self.c.table = <piece_t*> calloc(slots, sizeof(piece_t))
        total = sum(len(piece.encode()) for piece in self.vocabulary)
        self.c.bytes = <unsigned char*> malloc(total + 8)
        self.cache = word_cache_new(cache_slots)
        if self.c.table == NULL or self.c.bytes == NULL or self.cache == NULL:
            raise MemoryError()
        cdef uint32_t offset = 0
        cdef size_t size
        for i in range(len(self.vocabulary)):
            piece = self.vocabulary[i]
            continued = len(piece) > 2 and piece.startswith("##")
            encoded = (piece[2:] if continued else piece).encode()
            raw = encoded
            size = len(encoded)
            memcpy(self.c.bytes + offset, raw, size)
            hash = word_hash(raw, size, CONTINUED if continued else WHOLE)
            at = <uint64_t> hash & self.c.mask
            while self.c.table[at].hash:
                at = (at + 1) & self.c.mask
            self.c.table[at].hash = hash
            self.c.table[at].offset = offset
            self.c.table[at].size = <uint32_t> size
            self.c.table[at].id = <int32_t> i
            offset += <uint32_t> size
            self.c.longest = max(self.c.longest, <uint32_t> size)

    def __dealloc__(self):
        free(self.c.table)
        free(self.c.bytes)
        word_cache_free(self.cache)

    @property
    def vocab_size(self):
        return self.c.vocab_size

    @property
    def unk_id(self):
        return self.c.unk_id

    def encode(self, text, max_ids=None):
        return self.read(text, max_ids)[0]

    def words(self, text, max_ids=None):
        return self.read(text, max_ids)[1]

    def read(self, text, max_ids=None):
        import numpy

        cdef bytes encoded = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        cdef const unsigned char* raw = encoded
        cdef size_t n = len(encoded)
        cdef token_span_t span
        # No piece is shorter than a byte but those of a decomposed character, which has at most 4 of them.
        cdef Py_ssize_t room = 4 * n + 1 if max_ids is None else max_ids
        ids = numpy.empty(max(1, room), numpy.int32)
        words = numpy.empty(max(1, room), numpy.uint64)
        cdef int32_t[::1] id_view = ids
        cdef uint64_t[::1] word_view = words
        memset(&span, 0, sizeof(span))
        span.ids = &id_view[0]
        span.words = &word_view[0]
        span.max_ids = span.max_words = <int32_t> room
        with nogil:
            wordpiece_encode(&self.c, self.cache, raw, n, &span)
        return ids[:span.n_ids].copy(), words[:span.n_words].copy(), span.bytes_read

    def encode_many(self, texts):
        return [self.encode(text) for text in texts]
