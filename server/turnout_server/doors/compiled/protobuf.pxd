# Protobuf's wire form (https://protobuf.dev/programming-guides/encoding), read and written in place.
from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from turnout_fastpath.core cimport slice_t
from turnout_fastpath.utf8 cimport utf8_next

cdef enum:
    WIRE_VARINT = 0
    WIRE_FIXED64 = 1
    WIRE_BYTES = 2
    WIRE_FIXED32 = 5


cdef enum:
    FIELD_ODD = -1               # no field, or one that is left to the protobuf library
    FIELD_END = 0
    FIELD_READ = 1


cdef struct cursor_t:
    const uint8_t* at
    const uint8_t* end


cdef struct field_t:
    uint32_t number
    uint32_t wire_type
    uint64_t value               # of a varint, or the bits of a fixed one
    slice_t bytes                # of a length-delimited one


cdef inline cursor_t cursor_of(slice_t bytes) noexcept nogil:
    cdef cursor_t cursor
    cursor.at = <const uint8_t*> bytes.data
    cursor.end = cursor.at + bytes.size
    return cursor


# False if there is none of at most `most` bytes.
cdef inline bint read_varint(cursor_t* cursor, int most, uint64_t* value) noexcept nogil:
    cdef uint64_t result = 0
    cdef int i
    cdef uint8_t byte
    for i in range(most):
        if cursor.at == cursor.end:
            return False
        byte = cursor.at[0]
        cursor.at += 1
        result |= <uint64_t> (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            # The tenth byte has room for one bit.
            if i == 9 and byte > 1:
                return False
            value[0] = result
            return True
    return False


# Reads one field, known or not. Groups, field 0 and tags of more than five bytes are odd, as all that is broken is.
cdef inline int read_field(cursor_t* cursor, field_t* field) noexcept nogil:
    cdef uint64_t tag = 0, size = 0
    field.value = 0
    field.bytes.data = NULL
    field.bytes.size = 0
    if cursor.at == cursor.end:
        return FIELD_END
    if not read_varint(cursor, 5, &tag) or tag >> 3 == 0 or tag >> 32:
        return FIELD_ODD
    field.number = <uint32_t> (tag >> 3)
    field.wire_type = <uint32_t> (tag & 7)
    if field.wire_type == WIRE_BYTES:
        if not read_varint(cursor, 5, &size) or size > <uint64_t> (cursor.end - cursor.at):
            return FIELD_ODD
        field.bytes.data = <const char*> cursor.at
        field.bytes.size = <size_t> size
        cursor.at += size
        return FIELD_READ
    if field.wire_type == WIRE_VARINT:
        return FIELD_READ if read_varint(cursor, 10, &field.value) else FIELD_ODD
    if field.wire_type == WIRE_FIXED64 and cursor.end - cursor.at >= 8:
        memcpy(&field.value, cursor.at, 8)
        cursor.at += 8
        return FIELD_READ
    if field.wire_type == WIRE_FIXED32 and cursor.end - cursor.at >= 4:
        memcpy(&field.value, cursor.at, 4)
        cursor.at += 4
        return FIELD_READ
    return FIELD_ODD


cdef inline bint is_utf8(slice_t text) noexcept nogil:
    cdef const unsigned char* data = <const unsigned char*> text.data
    cdef size_t at = 0
    cdef size_t before
    cdef uint64_t block
    while at < text.size:
        while at + 8 <= text.size:
            memcpy(&block, data + at, 8)
            if block & <uint64_t> 0x8080808080808080:
                break
            at += 8
        if at == text.size:
            break
        before = at
        # U+FFFD stands for itself only where its own three bytes do.
        if utf8_next(data, text.size, &at) == 0xFFFD and not (
                at - before == 3 and data[before] == 0xEF and data[before + 1] == 0xBF and data[before + 2] == 0xBD):
            return False
    return True


cdef inline uint8_t* put_varint(uint8_t* out, uint64_t value) noexcept nogil:
    while value >= 0x80:
        out[0] = <uint8_t> (value | 0x80)
        value >>= 7
        out += 1
    out[0] = <uint8_t> value
    return out + 1


# The functions below write a whole field. A number below 16 has a tag of one byte, others below 2,048 of two.
cdef inline uint8_t* put_number(uint8_t* out, uint32_t number, uint64_t value) noexcept nogil:
    return put_varint(put_varint(out, number << 3 | WIRE_VARINT), value)


cdef inline uint8_t* put_double(uint8_t* out, uint32_t number, double value) noexcept nogil:
    out = put_varint(out, number << 3 | WIRE_FIXED64)
    memcpy(out, &value, 8)
    return out + 8


cdef inline uint8_t* put_text(uint8_t* out, uint32_t number, slice_t text) noexcept nogil:
    out = put_varint(put_varint(out, number << 3 | WIRE_BYTES), text.size)
    memcpy(out, text.data, text.size)
    return out + text.size


cdef inline uint8_t* put_hexadecimal(uint8_t* out, uint32_t number, const uint8_t* data, int n) noexcept nogil:
    cdef const char* digits = b"0123456789abcdef"
    cdef int i
    out = put_varint(put_varint(out, number << 3 | WIRE_BYTES), 2 * n)
    for i in range(n):
        out[2 * i] = <uint8_t> digits[data[i] >> 4]
        out[2 * i + 1] = <uint8_t> digits[data[i] & 15]
    return out + 2 * n
