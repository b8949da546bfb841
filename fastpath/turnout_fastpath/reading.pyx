"""What of a request is read: the last user turn, and two windows of its word pieces."""

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from turnout_fastpath.core cimport *
from turnout_fastpath.wordpiece cimport token_span_t, word_cache_t, wordpiece_encode, wordpiece_t


cdef inline int is_user(const message_t* message) noexcept nogil:
    return message.role == ROLE_USER or message.role == ROLE_UNSPECIFIED


# The last `limit` bytes of a slice, without a cut character at the start.
cdef inline slice_t last_bytes(slice_t text, size_t limit) noexcept nogil:
    cdef slice_t end = text
    if text.size > limit:
        end.data += text.size - limit
        end.size = limit
        while end.size and (<unsigned char> end.data[0] & 0xC0) == 0x80:
            end.data += 1
            end.size -= 1
    return end


cdef void choose_text(const request_t* request, char* buffer, judged_t* judged) noexcept nogil:
    cdef int i, n, last = NONE
    cdef const message_t* message
    cdef slice_t piece
    cdef slice_t[BORROWED_TURNS] borrowed
    cdef size_t at = 0
    memset(judged, 0, sizeof(judged_t))
    for i in range(request.n_messages):
        message = &request.messages[i]
        if is_user(message):
            judged.user_turns += 1
            last = i
        if message.role == ROLE_SYSTEM or message.role == ROLE_DEVELOPER:
            judged.system_bytes += message.text.size
        elif message.role == ROLE_TOOL:
            judged.tool_results += 1
            judged.tool_result_bytes += message.text.size
        else:
            judged.history_bytes += message.text.size
    if last == NONE:
        return
    judged.text = request.messages[last].text
    judged.history_bytes -= judged.text.size
    if judged.text.size >= SHORT_TURN_BYTES or last == 0:
        return
    n = 0
    i = last - 1
    while i >= 0 and n < BORROWED_TURNS:
        message = &request.messages[i]
        if (is_user(message) or message.role == ROLE_ASSISTANT) and message.text.size:
            borrowed[n] = last_bytes(message.text, BORROWED_BYTES)
            n += 1
        i -= 1
    if n == 0:
        return
    for i in range(n - 1, -1, -1):
        piece = borrowed[i]
        memcpy(buffer + at, piece.data, piece.size)
        at += piece.size
        buffer[at] = 10
        at += 1
        judged.history_bytes -= piece.size
    judged.borrowed_bytes = <uint32_t> at
    memcpy(buffer + at, judged.text.data, judged.text.size)
    judged.text.data = buffer
    judged.text.size += at


cdef void read_windows(const wordpiece_t* wordpiece, word_cache_t* cache, slice_t text, windows_t* windows) noexcept nogil:
    cdef token_span_t span
    cdef int32_t[TAIL_BYTES] tail_ids
    cdef uint64_t[TAIL_BYTES] tail_words
    cdef const unsigned char* data = <const unsigned char*> text.data
    cdef size_t start, skipped, read
    cdef int kept, i
    memset(&span, 0, sizeof(span))
    span.ids = windows.ids
    span.max_ids = HEAD_PIECES
    span.words = windows.head_words
    span.max_words = HEAD_PIECES
    wordpiece_encode(wordpiece, cache, data, text.size, &span)
    windows.n_ids = span.n_ids
    windows.n_unknown = span.n_unknown
    windows.n_head_words = span.n_words
    windows.n_tail_words = 0
    windows.total = span.n_ids
    windows.truncated = 0
    windows.estimated = 0
    if span.bytes_read >= text.size:
        return

    start = span.bytes_read
    skipped = 0
    if text.size - start > TAIL_BYTES:
        start = text.size - TAIL_BYTES
        # To the start of a word, or of a character where no space is near.
        i = 0
        while i < 64 and not (data[start + i] == 32 or 9 <= data[start + i] <= 13):
            i += 1
        if i < 64:
            start += i
        else:
            while (data[start] & 0xC0) == 0x80 and start < text.size - 1:
                start += 1
        skipped = start - span.bytes_read
    read = span.bytes_read
    memset(&span, 0, sizeof(span))
    span.ids = tail_ids
    span.max_ids = TAIL_BYTES
    span.words = tail_words
    span.max_words = TAIL_BYTES
    wordpiece_encode(wordpiece, cache, data + start, text.size - start, &span)
    read += span.bytes_read
    windows.total += span.n_ids
    kept = min(span.n_ids, TAIL_PIECES)
    memcpy(windows.ids + windows.n_ids, tail_ids + span.n_ids - kept, kept * sizeof(int32_t))
    windows.n_ids += kept
    for i in range(span.n_ids - kept, span.n_ids):
        windows.n_unknown += tail_ids[i] == wordpiece.unk_id
    windows.n_tail_words = min(span.n_words, kept)
    memcpy(windows.tail_words, tail_words + span.n_words - windows.n_tail_words, windows.n_tail_words * sizeof(uint64_t))
    windows.truncated = skipped > 0 or kept < span.n_ids
    if skipped:
        windows.estimated = 1
        windows.total += <uint32_t> (<double> skipped * windows.total / read + 0.5)


cdef void context_features(const request_t* request, const judged_t* judged, const windows_t* windows,
                           float* context) noexcept nogil:
    cdef uint64_t other = (judged.system_bytes + judged.history_bytes + judged.tool_result_bytes
                           + request.tool_schema_bytes)
    context[CONTEXT_TOKENS] = windows.total
    # What is not judged is counted at four bytes a word piece (English prose has 4.4, code 3.5).
    context[CONTEXT_REQUEST_TOKENS] = <float> (windows.total + other // 4)
    context[CONTEXT_MESSAGES] = request.n_messages
    context[CONTEXT_USER_TURNS] = judged.user_turns
    context[CONTEXT_SYSTEM_BYTES] = judged.system_bytes
    context[CONTEXT_HISTORY_BYTES] = judged.history_bytes
    context[CONTEXT_TOOL_RESULTS] = judged.tool_results
    context[CONTEXT_TOOL_RESULT_BYTES] = judged.tool_result_bytes
    context[CONTEXT_TOOLS] = request.n_tools
    context[CONTEXT_TOOL_SCHEMA_BYTES] = request.tool_schema_bytes
    context[CONTEXT_BORROWED_BYTES] = judged.borrowed_bytes
    context[CONTEXT_MEDIA] = request.media_bytes
