"""Marks and texts of JSON, one after the other, in bytes that nothing has parsed."""

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t
from libc.string cimport memchr

import orjson

# What lies between is blank, a number or a word.
cdef bint[256] is_mark
for _mark in bytearray(b'"{}[]:,'):
    is_mark[_mark] = True


cdef struct token_t:
    const uint8_t* start
    const uint8_t* end           # NULL: a text that is cut


# Behind the last quote of the text that begins at `start`; NULL if there is none.
cdef inline const uint8_t* end_of_text(const uint8_t* start, const uint8_t* end) noexcept nogil:
    cdef const uint8_t* at = start + 1
    cdef const uint8_t* quote
    cdef const uint8_t* first
    while True:
        # Texts are most of a body, and are not looked at byte by byte.
        quote = <const uint8_t*> memchr(at, c'"', end - at)
        if quote == NULL:
            return NULL
        first = quote
        while (first - 1)[0] == c'\\':
            first -= 1
        at = quote + 1
        # An even number of backslashes are so many escaped ones.
        if (quote - first) % 2 == 0:
            return at


# The first token from `at` on; False if there is none.
cdef inline bint next_token(const uint8_t* at, const uint8_t* end, token_t* token) noexcept nogil:
    while at < end and not is_mark[at[0]]:
        at += 1
    if at == end:
        return False
    token.start = at
    token.end = end_of_text(at, end) if at[0] == c'"' else at + 1
    return True


def tokens(bytes body not None):
    cdef const uint8_t* begin = body
    cdef const uint8_t* end = begin + len(body)
    cdef token_t token
    token.end = begin
    while next_token(token.end, end, &token):
        if token.end == NULL:
            yield c'"', token.start - begin, 0
            return
        yield token.start[0], token.start - begin, token.end - begin


def spans_of(bytes body not None, str key not None):
    cdef const uint8_t* begin = body
    cdef const uint8_t* end = begin + len(body)
    cdef token_t token
    # The last text of the document's own: a key, if a colon follows.
    cdef const uint8_t* text = begin
    cdef const uint8_t* text_end = begin
    cdef bint is_named = False
    cdef int depth = 0
    cdef list spans = []
    token.end = begin
    while next_token(token.end, end, &token) and token.end != NULL:
        if token.start[0] == c'"':
            if depth == 1:
                if is_named:
                    spans.append((token.start - begin, token.end - begin))
                text, text_end = token.start, token.end
            is_named = False
            continue
        if token.start[0] == c'{' or token.start[0] == c'[':
            depth += 1
        elif token.start[0] == c'}' or token.start[0] == c']':
            depth -= 1
        is_named = token.start[0] == c':' and depth == 1 and is_key(text[:text_end - text], key)
    return spans


cdef bint is_key(bytes quoted, str key) except -1:
    if quoted[1:len(quoted) - 1] == key.encode():
        return True
    # A key may be written with escapes.
    if b"\\" not in quoted:
        return False
    try:
        return orjson.loads(quoted) == key
    except orjson.JSONDecodeError:
        return False
