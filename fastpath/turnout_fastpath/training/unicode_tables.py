"""Writes unicode_tables.h: what the kernels know of each code point.

    python -m turnout_fastpath.training.unicode_tables OUT [--check]

How a character is normalised and split is not computed but asked: the Hugging Face `tokenizers` library
(BERT uncased) answers for all 1,114,112 code points, so the table follows its Unicode versions and its
quirks. Its crates lag behind: marks newer than Unicode 8 are not stripped, case mapping is that of its Rust
compiler. Letters, digits, case, marks and scripts come from `unicodedata`; the header names both versions.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import NamedTuple

import tokenizers
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

CODE_POINTS = 0x110000
SURROGATES = range(0xD800, 0xE000)
HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
# ypogegrammeni, alone in the highest combining class, 240: every other mark is sorted before it.
LAST_MARK = "\u0345"


class Action(IntEnum):
    """What the tokenizer does with a character."""

    WORD = 0  # part of a word, as the code point plus `value`
    SKIP = 1  # dropped: a control character or a stripped mark
    FENCE = 2  # dropped, and marks are not reordered across it: a stripped mark of combining class 0
    SPACE = 3  # ends a word
    ALONE = 4  # a word of its own, as the code point plus `value`: punctuation, CJK
    HANGUL = 5  # part of a word, as its two or three jamo (Unicode 15, section 3.12)
    SEQUENCE = (
        6  # part of a word, as turnout_sequences[value + 1 ...]; turnout_sequences[value] is their number
    )
    LEAD = 7  # in turnout_byte_action alone: a byte of a character beyond ASCII


class Flag(IntFlag):
    """Properties of a character as it stands in the text."""

    LETTER = 1
    DIGIT = 2
    UPPER = 4  # upper and title case
    MARK = 8
    PUNCTUATION = 16  # symbols too
    SPACE = 32
    CJK = 64  # the ideographs that BERT sets apart
    REMOVED = 128  # by BERT's clean_text: controls, format characters, private use, U+FFFD


class Script(IntEnum):
    """Writing systems that matter for routing, of letters and marks; marks of no script are OTHER."""

    COMMON = 0
    LATIN = 1
    CYRILLIC = 2
    GREEK = 3
    ARABIC = 4
    HEBREW = 5
    INDIC = 6
    THAI = 7  # and Lao
    HANGUL = 8
    KANA = 9
    HAN = 10
    GEORGIAN_ARMENIAN = 11
    EMOJI = 12
    OTHER = 13


INDIC_NAMES = (
    *("DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "GUJARATI"),
    *("GURMUKHI", "KANNADA", "MALAYALAM", "ORIYA", "SINHALA"),
)
# By the first word of the character's name.
SCRIPT_BY_NAME = {
    **{script.name: script for script in (Script.LATIN, Script.CYRILLIC, Script.GREEK, Script.ARABIC)},
    **{script.name: script for script in (Script.HEBREW, Script.HANGUL)},
    **dict.fromkeys(INDIC_NAMES, Script.INDIC),
    **dict.fromkeys(("THAI", "LAO"), Script.THAI),
    **dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"), Script.KANA),
    **dict.fromkeys(("CJK", "IDEOGRAPHIC"), Script.HAN),
    **dict.fromkeys(("GEORGIAN", "ARMENIAN"), Script.GEORGIAN_ARMENIAN),
}
# Blocks of pictographs and dingbats, a star and a circle.
EMOJI = (range(0x1F000, 0x1FB00), range(0x2600, 0x27C0), (0x2B50, 0x2B55))


class Character(NamedTuple):
    """One record of the table, as the C struct holds it."""

    properties: int
    action: int
    combining: int
    value: int


class Reference:
    """The reference's answers about single characters."""

    def __init__(self) -> None:
        self._normalise = BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True
        ).normalize_str
        self._clean = BertNormalizer(
            clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
        ).normalize_str
        self._isolate = BertNormalizer(
            clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=False
        ).normalize_str
        self._decompose = NFD().normalize_str
        self._split = BertPreTokenizer().pre_tokenize_str
        # One mark of each combining class; not one so new that the reference does not move it.
        self._ladder: dict[int, str] = {}
        for mark in map(chr, range(0x300, 0x20000)):
            if (order := unicodedata.combining(mark)) and self.sorts(mark):
                self._ladder.setdefault(order, mark)

    def split(self, text: str) -> list[str]:
        return [piece for piece, _ in self._split(text)]

    def sorts(self, char: str) -> bool:
        """Whether canonical ordering moves the character, that is, its combining class is not 0."""
        return char == LAST_MARK or self._decompose(LAST_MARK + char).endswith(LAST_MARK)

    def combining(self, char: str) -> int:
        """Canonical combining class: that of the known mark with which it changes places in neither order."""
        if not self.sorts(char):
            return 0
        for order, mark in self._ladder.items():
            moved_back = self._decompose(char + mark) != char + mark
            moved_ahead = self._decompose(mark + char) != mark + char
            if not moved_back and not moved_ahead:
                return order
        raise ValueError(f"U+{ord(char):04X} has a combining class that no mark of the ladder has")

    def flags(self, char: str) -> Flag:
        cjk = Flag.CJK if self._isolate(char) != char else Flag(0)
        return cjk | (Flag(0) if self._clean(char) else Flag.REMOVED)

    def action(self, char: str, sequences: SequencePool) -> tuple[Action, int, int]:
        """Action, value and combining class."""
        normalised = self._normalise(char)
        if not normalised:
            fence = bool(self._clean(char)) and not self.sorts(char)
            return (Action.FENCE if fence else Action.SKIP), 0, 0
        bare = normalised.strip()
        if not bare:
            return Action.SPACE, 0, 0
        # The buffers of the kernel and of its callers rely on it.
        if len(bare) > len(char.encode()):
            raise ValueError(f"U+{ord(char):04X} has {len(bare)} characters, limit: {len(char.encode())}")
        pieces = self.split(f"a{normalised}a")
        if pieces == ["a", bare, "a"] and len(bare) == 1:
            return Action.ALONE, ord(bare) - ord(char), 0
        if pieces != [f"a{normalised}a"]:
            raise ValueError(
                f"U+{ord(char):04X} becomes {pieces[1:-1]}, needed: one character or part of one word"
            )
        if ord(char) in HANGUL_SYLLABLES:
            return Action.HANGUL, 0, 0
        order = self.combining(bare[0])
        if order and bare != char:
            raise ValueError(f"U+{ord(char):04X} maps to a mark of combining class {order}, needed: class 0")
        if len(bare) > 1:
            return Action.SEQUENCE, sequences.place(bare), 0
        return Action.WORD, ord(bare) - ord(char), order


class SequencePool:
    """Code points of all sequences in one array, each with its length before it."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Where the text's sequence lies."""
        if text not in self._places:
            self._places[text] = len(self.values)
            self.values += [len(text), *map(ord, text)]
        return self._places[text]


def script_of(char: str) -> Script:
    """Script by the first word of the character's name."""
    if any(ord(char) in block for block in EMOJI):
        return Script.EMOJI
    if not unicodedata.category(char).startswith(("L", "M")):
        return Script.COMMON
    return SCRIPT_BY_NAME.get(unicodedata.name(char, "").split(" ")[0], Script.OTHER)


def flags_of(char: str) -> Flag:
    """The flags that `unicodedata` knows."""
    category = unicodedata.category(char)
    flags = {"L": Flag.LETTER, "M": Flag.MARK, "P": Flag.PUNCTUATION, "S": Flag.PUNCTUATION}.get(
        category[0], Flag(0)
    )
    if category == "Nd":
        flags |= Flag.DIGIT
    if category in ("Lu", "Lt"):
        flags |= Flag.UPPER
    if char.isspace():
        flags |= Flag.SPACE
    return flags


def read_characters(sequences: SequencePool) -> list[Character]:
    """A record for every code point; UTF-8 has no surrogates, theirs is never asked for."""
    reference = Reference()
    characters = []
    for code in range(CODE_POINTS):
        if code in SURROGATES:
            characters.append(Character(0, Action.SKIP, 0, 0))
            continue
        char = chr(code)
        action, value, combining = reference.action(char, sequences)
        properties = script_of(char) << 8 | reference.flags(char) | flags_of(char)
        characters.append(Character(properties, action, combining, value))
    return characters


def in_stages(values: Sequence[int], block: int) -> tuple[list[int], list[int]]:
    """A two-stage table: the place of each block, then the distinct blocks one after the other."""
    places: dict[tuple[int, ...], int] = {}
    first = [
        places.setdefault(tuple(values[at : at + block]), len(places)) for at in range(0, len(values), block)
    ]
    return first, [value for entries in places for value in entries]


def c_array(kind: str, name: str, values: Iterable[str]) -> str:
    """A C array, wrapped at 118 columns."""
    lines: list[str] = [""]
    count = 0
    for value in values:
        if len(lines[-1]) + len(value) > 117:
            lines.append("")
        lines[-1] += value + ","
        count += 1
    return f"static const {kind} {name}[{count}] = {{\n" + "\n".join(lines) + "\n};\n"


def c_enum(prefix: str, members: type[IntEnum] | type[IntFlag]) -> str:
    names = ",\n".join(f"  {prefix}_{member.name} = {member.value}" for member in members)
    return f"enum {{\n{names}\n}};\n"


def c_record(character: Character) -> str:
    return "{" + ",".join(str(int(value)) for value in character) + "}"


def versions() -> str:
    return f"tokenizers {tokenizers.__version__}, unicodedata {unicodedata.unidata_version}"


def render() -> str:
    """The header's text."""
    sequences = SequencePool()
    characters = read_characters(sequences)
    kinds: dict[Character, int] = {}
    indices = [kinds.setdefault(character, len(kinds)) for character in characters]
    shift, (first, second) = min(
        ((shift, in_stages(indices, 1 << shift)) for shift in (6, 7, 8)),
        key=lambda choice: 2 * (len(choice[1][0]) + len(choice[1][1])),
    )
    byte_actions = [Action(character.action) for character in characters[:128]] + [Action.LEAD] * 128
    return f"""\
/* Generated by turnout_fastpath.training.unicode_tables; do not edit.
 * {versions()} */
#ifndef TURNOUT_UNICODE_TABLES_H
#define TURNOUT_UNICODE_TABLES_H
#include <stdint.h>

/* What the tokenizer does with a character. */
{c_enum("ACTION", Action)}
{c_enum("CHAR", Flag)}
{c_enum("SCRIPT", Script)}
typedef struct {{
  uint16_t properties;  /* SCRIPT_... << 8 | CHAR_... */
  uint8_t action;       /* ACTION_... */
  uint8_t combining;    /* canonical combining class of a mark that the tokenizer keeps */
  int32_t value;        /* by action: what to add to the code point, or the place of its sequence */
}} unicode_char_t;

{c_array("unicode_char_t", "turnout_ascii", (c_record(character) for character in characters[:128]))}
{c_array("uint8_t", "turnout_byte_action", (str(int(action)) for action in byte_actions))}
{c_array("unicode_char_t", "turnout_chars", map(c_record, kinds))}
{c_array("uint16_t", "turnout_blocks", map(str, first))}
{c_array("uint16_t", "turnout_block_chars", map(str, second))}
/* Sequences of code points, each after its length. */
{c_array("uint32_t", "turnout_sequences", map(str, sequences.values))}
/* The record of a code point below 0x110000. */
static inline const unicode_char_t *turnout_char(uint32_t code) {{
  if (code < 128) return &turnout_ascii[code];
  return &turnout_chars[turnout_block_chars[((uint32_t)turnout_blocks[code >> {shift}] << {shift}) \
| (code & {(1 << shift) - 1})]];
}}

/* SCRIPT_... << 8 | CHAR_... */
static inline unsigned char_properties(uint32_t code) {{ return turnout_char(code)->properties; }}
#endif
"""


def main(arguments: Sequence[str]) -> int:
    """Writes the header; with --check compares it and returns 1 if it is stale."""
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if len(paths) != 1:
        print("usage: python -m turnout_fastpath.training.unicode_tables OUT [--check]", file=sys.stderr)
        return 2
    path = paths[0]
    text = render()
    if "--check" not in arguments:
        path.write_text(text, encoding="ascii")
        return 0
    found = path.read_text(encoding="ascii")
    if found == text:
        return 0
    print(f"{path} is stale or of other versions; here: {versions()}. Regenerate it.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
