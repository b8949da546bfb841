"""Writes unicode_tables.h: what the kernels know of each code point, asked of the reference itself.

    python -m turnout_fastpath.training.unicode_tables OUT [--check]

Normalisation and splitting are those of BERT uncased: the Hugging Face `tokenizers` library is asked for every code
point, so the table follows its Unicode version and its quirks. Scripts and classes come from `unicodedata`.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from tokenizers import normalizers, pre_tokenizers

LIMIT = 0x110000
BLOCK = 128

# How a code point is read: kinds of its first-stage entry. Larger numbers are entries of the expansion table.
WORD, REMOVED, SPACE, ALONE, HANGUL = range(5)
FIRST_EXPANSION = 5

FLAGS = {"LETTER": 1, "DIGIT": 2, "UPPER": 4, "MARK": 8, "PUNCTUATION": 16, "SPACE": 32}
SCRIPTS = (
    "COMMON LATIN CYRILLIC GREEK ARABIC HEBREW INDIC THAI HANGUL KANA HAN GEORGIAN_ARMENIAN EMOJI OTHER".split()
)
SCRIPT_WORDS = {
    "LATIN": "LATIN",
    "CYRILLIC": "CYRILLIC",
    "GREEK": "GREEK",
    "ARABIC": "ARABIC",
    "HEBREW": "HEBREW",
    "DEVANAGARI": "INDIC",
    "BENGALI": "INDIC",
    "TAMIL": "INDIC",
    "TELUGU": "INDIC",
    "GUJARATI": "INDIC",
    "GURMUKHI": "INDIC",
    "KANNADA": "INDIC",
    "MALAYALAM": "INDIC",
    "ORIYA": "INDIC",
    "SINHALA": "INDIC",
    "THAI": "THAI",
    "LAO": "THAI",
    "HANGUL": "HANGUL",
    "HIRAGANA": "KANA",
    "KATAKANA": "KANA",
    "KATAKANA-HIRAGANA": "KANA",
    "CJK": "HAN",
    "IDEOGRAPHIC": "HAN",
    "GEORGIAN": "GEORGIAN_ARMENIAN",
    "ARMENIAN": "GEORGIAN_ARMENIAN",
}


class Reference:
    """The reference's answers for single characters."""

    def __init__(self) -> None:
        self.normaliser = normalizers.BertNormalizer(
            clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True
        )
        self.splitter = pre_tokenizers.BertPreTokenizer()

    def kind_after(self, char: str) -> int:
        """How the splitter reads a normalised character."""
        pieces = [piece for piece, _ in self.splitter.pre_tokenize_str(f"a{char}a")]
        if len(pieces) == 1:
            return WORD
        return ALONE if char in pieces else SPACE

    def read(self, char: str) -> list[tuple[str, int]]:
        """Normalised characters with the splitter's view of each."""
        return [(c, self.kind_after(c)) for c in self.normaliser.normalize_str(char)]


def classify(char: str) -> tuple[int, str]:
    """Flags and script of a code point."""
    category = unicodedata.category(char)
    flags = 0
    if category.startswith("L"):
        flags |= FLAGS["LETTER"]
    if category == "Nd":
        flags |= FLAGS["DIGIT"]
    if category in ("Lu", "Lt"):
        flags |= FLAGS["UPPER"]
    if category.startswith("M"):
        flags |= FLAGS["MARK"]
    if category.startswith(("P", "S")):
        flags |= FLAGS["PUNCTUATION"]
    if char.isspace():
        flags |= FLAGS["SPACE"]
    code = ord(char)
    if 0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or code in (0x2B50, 0x2B55):
        return flags, "EMOJI"
    first = unicodedata.name(char, "").split(" ")[0]
    if first in SCRIPT_WORDS and (category.startswith(("L", "M"))):
        return flags, SCRIPT_WORDS[first]
    return flags, "OTHER" if category.startswith(("L", "M")) else "COMMON"


def stages(values: Sequence[int]) -> tuple[list[int], list[int]]:
    """A two-stage table: block numbers, then the distinct blocks one after the other."""
    blocks: dict[tuple[int, ...], int] = {}
    first = [blocks.setdefault(tuple(values[at : at + BLOCK]), len(blocks)) for at in range(0, LIMIT, BLOCK)]
    return first, [value for block in blocks for value in block]


def array(kind: str, name: str, values: Sequence[int]) -> str:
    """A C array, wrapped."""
    lines = []
    line = ""
    for value in values:
        text = f"{value},"
        if len(line) + len(text) > 118:
            lines.append(line)
            line = ""
        line += text
    return f"static const {kind} {name}[{len(values)}] = {{\n" + "\n".join([*lines, line]) + "\n};\n"


def render() -> str:
    """The header's text."""
    reference = Reference()
    entries: list[int] = []
    properties: list[int] = []
    expansions: dict[tuple[tuple[int, int], ...], int] = {}
    for code in range(LIMIT):
        if 0xD800 <= code <= 0xDFFF:
            entries.append(REMOVED)
            properties.append(0)
            continue
        char = chr(code)
        flags, script = classify(char)
        properties.append(SCRIPTS.index(script) << 8 | flags)
        if 0xAC00 <= code <= 0xD7A3:
            entries.append(HANGUL)
            continue
        read = reference.read(char)
        if not read:
            entries.append(REMOVED)
        elif all(kind == SPACE for _, kind in read):
            entries.append(SPACE)
        elif [c for c, kind in read if kind != SPACE] == [char]:
            # A character alone, with or without the spaces that the reference sets around it.
            alone = len(read) == 3 or read[0][1] == ALONE
            entries.append(ALONE if alone else WORD)
        else:
            # Spaces around a mapped character: it stands alone.
            bare = [(ord(c), kind) for c, kind in read if kind != SPACE]
            if len(bare) == 1 and len(read) == 3:
                bare = [(bare[0][0], ALONE)]
            key = tuple(bare)
            entries.append(FIRST_EXPANSION + expansions.setdefault(key, len(expansions)))
    starts = [0]
    pool: list[int] = []
    for key in expansions:
        pool.extend(code << 3 | kind for code, kind in key)
        starts.append(len(pool))
    first, second = stages(entries)
    property_first, property_second = stages(properties)
    ascii_table = [entries[c] for c in range(128)]
    ascii_lower = [
        pool[starts[e - FIRST_EXPANSION]] >> 3 if e >= FIRST_EXPANSION else c for c, e in enumerate(ascii_table)
    ]
    ascii_kind = [WORD if e >= FIRST_EXPANSION else e for e in ascii_table]
    parts = [
        "/* Generated by turnout_fastpath.training.unicode_tables; do not edit. */\n",
        "#ifndef TURNOUT_UNICODE_TABLES_H\n#define TURNOUT_UNICODE_TABLES_H\n#include <stdint.h>\n\n",
        f"enum {{ BERT_WORD = {WORD}, BERT_REMOVED = {REMOVED}, BERT_SPACE = {SPACE}, BERT_ALONE = {ALONE}, "
        f"BERT_HANGUL = {HANGUL}, BERT_EXPANSION = {FIRST_EXPANSION} }};\n",
        "enum { " + ", ".join(f"CHAR_{name} = {value}" for name, value in FLAGS.items()) + " };\n",
        "enum { " + ", ".join(f"SCRIPT_{name} = {i}" for i, name in enumerate(SCRIPTS)) + " };\n\n",
        array("uint8_t", "bert_ascii_kind", ascii_kind),
        array("uint8_t", "bert_ascii_lower", ascii_lower),
        array("uint16_t", "bert_first", first),
        array("uint16_t", "bert_second", second),
        "/* Expansion e is bert_pool[bert_starts[e] .. bert_starts[e + 1]): code point << 3 | kind. */\n",
        array("uint16_t", "bert_starts", starts),
        array("uint32_t", "bert_pool", pool),
        "/* Script << 8 | flags. */\n",
        array("uint16_t", "property_first", property_first),
        array("uint16_t", "property_second", property_second),
        f"""
static inline unsigned bert_entry(uint32_t code) {{
  return bert_second[bert_first[code / {BLOCK}] * {BLOCK} + code % {BLOCK}];
}}
static inline unsigned char_properties(uint32_t code) {{
  return property_second[property_first[code / {BLOCK}] * {BLOCK} + code % {BLOCK}];
}}
#endif
""",
    ]
    return "".join(parts)


def main() -> int:
    """Writes the header, or with --check compares it."""
    path = Path(sys.argv[1])
    text = render()
    if "--check" not in sys.argv:
        path.write_text(text, encoding="ascii")
        return 0
    if path.read_text(encoding="ascii") != text:
        print(f"{path} is stale; regenerate it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
