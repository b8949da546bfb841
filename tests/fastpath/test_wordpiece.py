"""The WordPiece kernel against its twin and against Hugging Face `tokenizers`."""

from __future__ import annotations

import gzip
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer, Tokenizer
from tokenizers.models import WordPiece as ReferenceModel
from tokenizers.normalizers import NFD, BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from turnout_fastpath.training import unicode_tables
from turnout_fastpath.training.unicode_tables import Flag, Script
from turnout_fastpath.wordpiece import WordPiece

from tests.fastpath.twins import wordpiece as twin

PACKAGE = Path(__file__).parents[2] / "fastpath" / "turnout_fastpath"
VOCAB_PATH = PACKAGE / "bundles" / "default" / "vocab.txt"
VOCABULARY = VOCAB_PATH.read_text(encoding="utf-8").split("\n")[:-1]
IDS = {entry: i for i, entry in enumerate(VOCABULARY)}
FULL = os.environ.get("TURNOUT_FULL") == "1"
# The full run has 100,000 cases over all property tests: 32 shares.
SHARE = 3125 if FULL else 100
CODE_POINTS = [chr(code) for code in range(0x110000) if not 0xD800 <= code <= 0xDFFF]

KERNEL = WordPiece(VOCABULARY)
NORMALISER = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
SPLITTER = BertPreTokenizer()


def cases(shares: int) -> settings:
    return settings(max_examples=shares * SHARE, deadline=None, suppress_health_check=list(HealthCheck))


def build_reference(vocabulary: Iterable[str]) -> Tokenizer:
    """The reference without added tokens: "[SEP]" in a text is plain text."""
    ids = {entry: i for i, entry in enumerate(vocabulary)}
    reference = Tokenizer(ReferenceModel(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    reference.normalizer = NORMALISER
    reference.pre_tokenizer = SPLITTER
    return reference


REFERENCE = build_reference(VOCABULARY)


def reference_ids(text: str) -> list[int]:
    return list(REFERENCE.encode(text, add_special_tokens=False).ids)


def reference_words(text: str) -> list[str]:
    return [word for word, _ in SPLITTER.pre_tokenize_str(NORMALISER.normalize_str(text))]


def check(text: str | bytes) -> None:
    """Pieces, words, unknown pieces and bytes read are the reference's."""
    decoded = text if isinstance(text, str) else text.decode("utf-8", "replace")
    span = KERNEL.read_span(text)
    assert span.ids.tolist() == reference_ids(decoded)
    assert span.words.tolist() == [twin.word_hash(word) for word in reference_words(decoded)]
    assert span.n_unknown == span.ids.tolist().count(KERNEL.unk_id)
    assert span.bytes_read == len(decoded.encode() if isinstance(text, str) else text)
    assert KERNEL.encode(text).tolist() == span.ids.tolist()
    assert KERNEL.words(text).tolist() == span.words.tolist()
    assert [list(part) for part in KERNEL.read(text)[:2]] == [list(span.ids), list(span.words)]


@cache
def kept_marks() -> list[str]:
    """Characters that normalisation keeps and that canonical ordering moves, and fences that it drops."""
    moved = [c for c in CODE_POINTS if unicodedata.combining(c) and NORMALISER.normalize_str(c)]
    return [*moved, *"\u0301\u0316\u0345\u0901\u0e31\u0e38\u200d\x00ab\u212b"]


@cache
def twin_agrees(char: str) -> bool:
    """Whether `unicodedata` and the reference's older tables say the same of a character."""
    probe = "\u0345" + char + "\u0334"
    same_order = unicodedata.normalize("NFD", probe) == NFD().normalize_str(probe)
    return same_order and twin.split(f"a{char}b") == reference_words(f"a{char}b")


@cache
def crowded_kernel(slots: int) -> WordPiece:
    return WordPiece(VOCABULARY, cache_slots=slots)


chars = st.characters(exclude_categories=["Cs"])
word_chars = st.sampled_from("abcdefghijklmnopqrstuvwxyzABCDEFéÉßñİıǅΣςйЙяאबि안녕がガ한文𠀀ﬁ①½")
separators = st.sampled_from(
    [*" \t\n\r\x0b\x0c\x00\x7f\x85.,!?'\"$+<=>^`|~’“—…。、", "\u00a0", "\u2028", "\u200b", "\u3000"]
)
words = st.text(word_chars, max_size=12)
prose = st.lists(st.one_of(st.sampled_from(VOCABULARY[1000:]), words, separators)).map("".join)
texts = st.one_of(
    st.text(chars, max_size=60),
    st.text(st.one_of(word_chars, separators, chars), max_size=80),
    prose,
    st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join),
)


@cases(12)
@given(texts)
def test_text_reads_as_the_reference(text: str) -> None:
    check(text)


@cases(3)
@given(st.text(st.deferred(lambda: st.sampled_from(kept_marks())), max_size=24))
def test_marks_are_ordered_as_the_reference_orders_them(text: str) -> None:
    check(text)


@cases(3)
@given(st.binary(max_size=60))
def test_any_bytes_read_as_their_replacement(data: bytes) -> None:
    check(data)


@cases(4)
@given(
    texts, st.lists(st.tuples(st.integers(0, 300), st.one_of(st.none(), st.binary(min_size=1, max_size=3))))
)
def test_damaged_utf8_reads_as_its_replacement(text: str, damages: list[tuple[int, bytes | None]]) -> None:
    data = bytearray(text.encode())
    for place, inserted in damages:
        at = place % (len(data) + 1)
        data[at : at + (inserted is None)] = inserted or b""
    check(bytes(data))


@cases(2)
@given(texts)
def test_twin_equals_kernel(text: str) -> None:
    text = "".join(filter(twin_agrees, text))
    assert KERNEL.encode(text).tolist() == twin.encode(text, IDS)
    assert KERNEL.words(text).tolist() == twin.hash_words(text)


@cases(2)
@given(
    st.sets(st.text("abcé文#", min_size=1, max_size=6), max_size=30),
    st.sets(st.text("abce文", min_size=1, max_size=4).map(lambda entry: "##" + entry), max_size=30),
    st.text("abcée文# .", max_size=40),
)
def test_any_vocabulary_matches_as_the_reference(
    starts: set[str], continuations: set[str], text: str
) -> None:
    vocabulary = ["[UNK]", *sorted(starts | continuations)]
    expected = build_reference(vocabulary).encode(text, add_special_tokens=False).ids
    kernel = WordPiece(vocabulary, cache_slots=2)
    assert kernel.encode(text).tolist() == expected
    assert kernel.encode(text).tolist() == expected, "the same from the cache"


@cases(2)
@given(st.lists(texts, max_size=6), st.sampled_from([1, 2, 8]))
def test_words_that_share_a_slot_keep_their_pieces(several: list[str], slots: int) -> None:
    kernel = crowded_kernel(slots)
    for text in several + several:
        assert kernel.encode(text).tolist() == KERNEL.encode(text).tolist()


@cases(3)
@given(texts, st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_reading_on_gives_the_whole(text: str, max_ids: int, max_words: int, damaged: bool) -> None:
    data = text.encode()[1:] if damaged else text.encode()
    whole = KERNEL.read_span(data)
    ids: list[int] = []
    hashes: list[int] = []
    unknown = 0
    at = 0
    while at < len(data):
        span = KERNEL.read_span(data[at:], max_ids, max_words)
        assert len(span.ids) <= max_ids and len(span.words) <= max_words
        if not span.bytes_read or not len(span.words):
            # The next word needs more room than the limits give.
            span = KERNEL.read_span(data[at:], 100, 1)
        ids += span.ids.tolist()
        hashes += span.words.tolist()
        unknown += span.n_unknown
        at += span.bytes_read
    assert (ids, hashes, unknown) == (whole.ids.tolist(), whole.words.tolist(), whole.n_unknown)


@cases(1)
@given(st.text("aé文̂한b", min_size=90, max_size=130), st.integers(0, 3))
def test_long_words_are_unknown_as_the_reference_has_it(word: str, extra: int) -> None:
    for text in (
        word,
        f"x {word} y",
        "a" * (98 + extra),
        "é" * (98 + extra),
        "a" * (99 + extra) + "\u0301 b",
    ):
        check(text)


def test_every_code_point_reads_as_the_reference() -> None:
    step = 4096
    for at in range(0, len(CODE_POINTS), step):
        text = " ".join(f"a{char}b" for char in CODE_POINTS[at : at + step])
        expected = np.array([twin.word_hash(word) for word in reference_words(text)], np.uint64)
        assert np.array_equal(KERNEL.words(text), expected), f"from U+{ord(CODE_POINTS[at]):04X}"
        assert KERNEL.encode(text).tolist() == reference_ids(text)


def test_twin_parts_from_the_reference_only_over_newer_characters() -> None:
    sample = CODE_POINTS if FULL else CODE_POINTS[:0x3000]
    apart = [char for char in sample if not twin_agrees(char)]
    assert 50 < len(apart) < 700
    assert min(apart) >= "\u061d"


def test_special_tokens_in_a_text_are_plain_text() -> None:
    reference = BertWordPieceTokenizer(str(VOCAB_PATH), lowercase=True)
    reference._tokenizer.encode_special_tokens = True
    text = "A [SEP] b [CLS] [MASK] [unused1] [PAD]"
    assert KERNEL.encode(text).tolist() == reference.encode(text, add_special_tokens=False).ids
    assert IDS["[SEP]"] not in KERNEL.encode(text)


@pytest.mark.parametrize(
    "text", ["", " ", "\t\n", "\x00\x01", "\u0301", "\ufffd", "\u200d\u0301 ", b"", b"\xff\xc3"]
)
def test_texts_without_a_word_are_read_to_their_end(text: str | bytes) -> None:
    span = KERNEL.read_span(text)
    assert (len(span.ids), len(span.words), span.n_unknown) == (0, 0, 0)
    assert span.bytes_read == len(text.encode() if isinstance(text, str) else text)


def test_lone_surrogates_are_dropped() -> None:
    assert KERNEL.encode("hel\udc80lo \ud800").tolist() == KERNEL.encode("hello").tolist()


@pytest.mark.parametrize(
    ("text", "max_ids", "expected", "bytes_read"),
    [
        ("hello world", 0, "", 0),
        ("hello world", 1, "hello", 6),
        ("hello world  ", 2, "hello world", 13),
        ("hello unbelievablyx", 2, "hello", 6),
        (" \u0301unbelievablyx", 1, "", 3),
        ("don't", 2, "don '", 4),
        ("文字", 1, "文", 3),
        ("a\u0301é", 0, "", 0),
    ],
)
def test_reading_stops_before_the_word_that_does_not_fit(
    text: str, max_ids: int, expected: str, bytes_read: int
) -> None:
    span = KERNEL.read_span(text, max_ids)
    assert span.ids.tolist() == [IDS[word] for word in expected.split()]
    assert span.bytes_read == bytes_read


def test_word_hashes_are_pinned() -> None:
    # A change is a new features revision: n-gram tables are trained on these.
    assert KERNEL.words("A résumé, internationalisation 文").tolist() == [
        0xBF281E54329B4ADE,
        0xD3C113194FD50E2C,
        0x9D0885142ED844BF,
        0x9D9B3CF2BECCF0DF,
        0x43E3B07A9A00D57F,
    ]


def test_word_hashes_differ_and_spread() -> None:
    whole = [entry for entry in VOCABULARY if not entry.startswith(("##", "["))]
    hashes = np.array([twin.word_hash(word) for word in whole], np.uint64)
    assert len(np.unique(hashes)) == len(whole)
    for shift in (0, 24, 51):
        used = len(np.unique(hashes >> np.uint64(shift) & np.uint64(8191)))
        expected = 8192 * (1 - (1 - 1 / 8192) ** len(whole))
        assert used == pytest.approx(expected, rel=0.02)


def test_endless_words_are_cut_not_gathered() -> None:
    span = KERNEL.read_span("a" * 1_000_000 + " \u1b44\u302e" * 10 + "\u302e\u1b44" * 200_000)
    assert span.ids.tolist() == [KERNEL.unk_id] * 11


def test_vocabulary_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_bytes(b"[UNK]\r\nhello\r\n##s\n")
    for vocabulary in (path, str(path), ["[UNK]", "hello", "##s"]):
        kernel = WordPiece(vocabulary)
        assert (kernel.vocab_size, kernel.unk_id) == (3, 0)
        assert kernel.encode("Hellos, hello").tolist() == [1, 2, 0, 1]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "the vocabulary of 0 pieces has no [UNK]"),
        (["hello"], "the vocabulary of 1 pieces has no [UNK]"),
        (["[UNK]", ""], "piece 1 of the vocabulary has 0 characters, needed: at least 1"),
        (["[UNK]", "a", "b", "a"], "pieces 1 and 3 of the vocabulary are both 'a', limit: one"),
    ],
)
def test_bad_vocabularies_are_rejected(vocabulary: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        WordPiece(vocabulary)


@pytest.mark.parametrize("slots", [0, 3, -8])
def test_cache_slots_are_a_power_of_two(slots: int) -> None:
    with pytest.raises(ValueError, match=f"cache_slots is {slots}, needed: a power of two"):
        WordPiece(["[UNK]"], cache_slots=slots)


def test_bad_arguments_are_rejected() -> None:
    with pytest.raises(ValueError, match="max_ids is -1, needed: at least 0"):
        KERNEL.encode("a", -1)
    not_text: Any = 5
    with pytest.raises(TypeError, match="text is int, needed: str or bytes"):
        KERNEL.encode(not_text)


def public_prompts(folder: Path) -> Iterator[str]:
    from pyarrow import parquet

    yield from dict.fromkeys(
        parquet.read_table(folder / "public" / "pairs.parquet", columns=["prompt"])["prompt"].to_pylist()
    )
    with gzip.open(folder / "loadtest" / "prompts.jsonl.gz", "rt", encoding="utf-8") as lines:
        yield from (json.loads(line)["prompt"] for line in lines)


@pytest.mark.skipif("TURNOUT_DATA" not in os.environ, reason="TURNOUT_DATA names no folder")
def test_every_public_prompt_reads_as_the_reference() -> None:
    prompts = list(public_prompts(Path(os.environ["TURNOUT_DATA"])))
    assert len(prompts) > 25_000
    for prompt in prompts:
        span = KERNEL.read_span(prompt)
        assert span.ids.tolist() == reference_ids(prompt)
        assert len(span.words) == len(reference_words(prompt))


@pytest.mark.parametrize(
    ("char", "flags", "script"),
    [
        ("A", Flag.LETTER | Flag.UPPER, Script.LATIN),
        ("7", Flag.DIGIT, Script.COMMON),
        ("$", Flag.PUNCTUATION, Script.COMMON),
        ("\n", Flag.SPACE, Script.COMMON),
        ("\x0b", Flag.SPACE | Flag.REMOVED, Script.COMMON),
        ("\u200b", Flag.REMOVED, Script.COMMON),
        ("\ufffd", Flag.PUNCTUATION | Flag.REMOVED, Script.COMMON),
        ("\ue000", Flag.REMOVED, Script.COMMON),
        ("\u0301", Flag.MARK, Script.OTHER),
        ("文", Flag.LETTER | Flag.CJK, Script.HAN),
        ("か", Flag.LETTER, Script.KANA),
        ("안", Flag.LETTER, Script.HANGUL),
        ("Ж", Flag.LETTER | Flag.UPPER, Script.CYRILLIC),
        ("ﷲ", Flag.LETTER, Script.ARABIC),
        ("ा", Flag.MARK, Script.INDIC),
        ("த", Flag.LETTER, Script.INDIC),
        ("๗", Flag.DIGIT, Script.COMMON),
        ("ກ", Flag.LETTER, Script.THAI),
        ("ღ", Flag.LETTER, Script.GEORGIAN_ARMENIAN),
        ("ሀ", Flag.LETTER, Script.OTHER),
        ("😀", Flag.PUNCTUATION, Script.EMOJI),
    ],
)
def test_table_describes_characters(char: str, flags: Flag, script: Script) -> None:
    assert unicode_tables.Reference().flags(char) | unicode_tables.flags_of(char) == flags
    assert unicode_tables.script_of(char) == script


@pytest.mark.slow
@pytest.mark.skipif(not FULL, reason="takes 20 s; TURNOUT_FULL=1 runs it")
def test_generated_table_is_current() -> None:
    assert unicode_tables.main([str(PACKAGE / "unicode_tables.h"), "--check"]) == 0
