"""The scan computes what text.pyi says, and what its twin computes, to the last bit."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import turnout_fastpath
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.text import scan
from turnout_fastpath.text_features import FEATURE_NAMES
from turnout_fastpath.training import word_classes
from turnout_fastpath.training.word_classes import SEQUENCE_LANGUAGES, WORDS, WordClass

from tests.fastpath.twins import text as twin

LIMIT = 1 << 20
COUNTED_CLASSES = [word_class for word_class in WordClass if word_class != WordClass.AUXILIARY]


def value(feature: str, text: str | bytes) -> float:
    """One feature of a text."""
    return float(scan(text)[FEATURE_NAMES.index(feature)])


def assert_equals_twin(text: str | bytes) -> None:
    """All features, compared as float32."""
    ours, twins = scan(text), twin.scan(text)
    assert {n: v for n, v in zip(FEATURE_NAMES, ours, strict=True)} == dict(
        zip(FEATURE_NAMES, twins, strict=True)
    )


# Feature, text, value. Every feature stands here with what counts and with what nearly would.
EXAMPLES: list[tuple[str, str, float]] = [
    ("bytes", "aé中😀", 10),
    ("chars", "aé中😀", 4),
    ("words", "", 0),
    ("words", "It's 5 o’clock, not 3.14!", 6),
    ("words", "snake_case __ _ 'quoted' x'", 3),
    ("words", "trade-off and/or", 4),
    ("words", "中文字符很多", 3),
    ("words", "中文字abc日本", 4),
    ("words", "한국어로 번역", 2),
    ("words", "Python으로", 2),
    ("words", "ภาษาไทย", 2),
    ("words", "e\u0301te\u0301 \u0301x", 2),
    ("lines", "a\n\n  \t\nb\r\n", 2),
    ("sentences", "", 0),
    ("sentences", "One. Two! Three? Four", 4),
    ("sentences", "3.14 is e.g.this. ... !", 1),
    ("sentences", "He said “Go.” (Yes.) Then left.", 3),
    ("sentences", "你好。再见！ नमस्ते।", 3),
    ("sentences", "...", 0),
    ("mean_word_chars", "ab abcd", 3),
    ("mean_word_chars", "...", 0),
    ("mean_word_chars", "中文字", 1.5),
    ("longest_word_chars", "a abcdefghijklmnopqrstuvwxyz bc", 26),
    ("longest_word_chars", "中文字符 don't", 5),
    ("longest_word_chars", "____________ _a", 2),
    ("letter_share", "ab1_é ж中", 5 / 8),
    ("upper_share", "AbÉЖa", 3 / 5),
    ("digit_share", "a1 ٣x", 2 / 5),
    ("punctuation_share", "a,b!€", 3 / 5),
    ("punctuation_share", "don't 'x' l’eau\t_", 3 / 17),
    ("non_ascii_share", "aé中b", 2 / 4),
    ("code_fences", "```python\nx\n  ```\na ```\n~~~\n``", 3),
    ("inline_code_spans", "`a` and ``b`` and ```c``` `\n`d", 2),
    ("code_marks", "{}", 2),
    ("code_marks", "a; b;\nc;\r\nd;", 3),
    ("code_marks", "x == y === z ==== w", 3),
    ("code_marks", "a => b -> c :: d && e || f += g", 6),
    ("code_marks", "= = < > :a & b", 0),
    ("code_marks", "!= <= >= -= *= /= := /* */ </ /> << >> ++", 14),
    ("identifiers", "snake_case camelCase HTTPServer iPhone print(x)", 4),
    ("identifiers", "f(x) 3d(x) file(s) Word __ _1 and (so) do_it(s)", 1),
    ("identifiers", "réponse_é étéÀ foo_é(s) ééé(x)", 3),
    ("code_words", "def f(x): async lambda", 3),
    ("code_words", "define the function of a variable", 0),
    ("indented_lines", "a\n b\n  c\n\td\n   \n", 2),
    ("paths_and_urls", "see https://a.b/c/d and http://x twice://y", 3),
    ("paths_and_urls", "/etc ./run ~/x src/app/main.py C:\\dir a@b.c", 6),
    ("paths_and_urls", "and/or 24/7 12/05/2024 </b></i> he/she a @ b \\x", 0),
    ("paths_and_urls", "('/login') \"a/b\"/c", 2),
    ("math_marks", "a = b + c^2", 3),
    ("math_marks", "3 * 4 - x / 2 < 5 > 4", 5),
    ("math_marks", "C++ well-known 2024-01-02 a * b and/or <b> x =5", 0),
    ("math_marks", "2 × 3 ÷ 4 ≤ ∑ x² √2", 6),
    ("latex_marks", "\\frac{1}{2} \\(x\\) \\[y\\] x_{1} y^{2} $$", 6),
    ("latex_marks", "$x^2$ costs $5 and $10, or US$5-$6", 1),
    ("latex_marks", "a\\n C:\\dir $foo $bar", 0),
    ("numbers", "12 apples, 3,456.78 pears at 12:30, x2 and 5kg", 4),
    ("numbers", "1, 2. 3", 3),
    ("longest_number_digits", "12 1,234,567.89 x123456789012 4", 9),
    ("money_and_percent", "$5 5% 5 % €5 ¥ ₹", 6),
    ("money_and_percent", "$x % $$5 a% US$", 0),
    ("question_marks", "Why? ？ ؟ ??", 5),
    ("question_words", "What is it and why?", 2),
    ("question_words", "whatever knowhow", 0),
    ("opens_with_question", "how are you", 1),
    ("opens_with_question", "... Could you?", 1),
    ("opens_with_question", "tell me how", 0),
    ("opens_with_question", "请问这个为什么", 1),
    ("opens_with_question", "请把下面的文字翻译成英文是什么", 0),
    ("opens_with_question", "¿Cuándo?", 1),
    ("list_items", "- a\n* b\n+ c\n1. d\n12) e\n(3) f\n• g\n– h\n2、i\n① j\n  - k", 11),
    ("list_items", "-a\n*b*\n1.5 x\n1234. y\n3)x\n()\n(a) z\n— \n·", 2),
    ("answer_options", "A. x\nB) y\n c: z\n(D) w and (e) v", 5),
    ("answer_options", "A.x\nK. y\nAb. z\n(K) f(A) (A)b", 0),
    ("quoted_lines", "> a\n >> b\nc > d", 2),
    ("quotations", '"a" and "b" “c” «d» 「e」 \'f\' "', 5),
    ("table_lines", "| a | b |\na | b | c\na | b\na || b || c\nx\ty\tz\n\t\ta", 3),
    ("markup_tags", "<b>x</b> <!-- y --> <br/> a < b > c <\n> <1>", 4),
    ("json_marks", '[{"a": "b"}, {"c": 1}]', 8),
    ("json_marks", '"a" : {b} [c]', 0),
    ("log_lines", "[2024-01-02] x\n2024/01/02 y\nat 12:30:05 z\n12:30 w", 3),
    ("log_lines", "ERROR x\n[WARN] y\nINFO: z\nInfo: a\nERRORS\nan ERROR", 3),
    ("log_lines", "ValueError: x\nmy Warning: y\nerror : z\nfatal:w", 3),
    ("log_lines", '  at a.b(c)\nat a\n  File "x.py"\nTraceback (most', 3),
    ("field_lines", "Name: Bob\nFirst name : x\n- **City**: y\n\"key\": 1\n姓名：张三\nAnswer:", 6),
    ("field_lines", "one two three four: x\na:b\n12:30\n: x\na, b: c\n" + "x" * 33 + ": y\nsee: a: b", 1),
    ("latin_share", "aé ж1", 2 / 3),
    ("accented_latin_share", "aé ж1", 1 / 3),
    ("cyrillic_share", "aж", 1 / 2),
    ("greek_share", "aλ", 1 / 2),
    ("arabic_share", "aبَ", 1 / 2),
    ("hebrew_share", "aא", 1 / 2),
    ("indic_share", "aनि", 1 / 2),
    ("thai_share", "aกັ", 1 / 2),
    ("hangul_share", "a한", 1 / 2),
    ("kana_share", "aかカー中", 3 / 5),
    ("han_share", "a中々か", 2 / 4),
    ("han_share", "12 , ", 0),
    ("emoji", "😀👍🏽☀❤️ :-) 🇩🇪 ©", 7),
    ("social_words", "Hello, thanks! hellos", 2),
    ("write_words", "Write a poem. Rewritten by a writer", 2),
    ("rewrite_words", "SUMMARIZE and Übersetze, traducción, перевод, ترجمة", 5),
    ("rewrite_words", "请翻译并总结", 2),
    ("extract_words", "extract, ordne und liste", 3),
    ("explain_words", "explícame el ejemplo", 2),
    ("compare_words", "pros and cons, trade-offs", 3),
    ("repair_words", "corrige l’erreur: erreur", 1),
    ("repair_words", "fix the bug; bugsy", 2),
    ("solve_words", "докажи и реши", 2),
    ("solve_words", "求められた方程式を証明", 4),
    ("plan_words", "계획과 일정", 2),
    ("format_words", "as JSON, in 3 bullets", 2),
    ("constraint_words", "must exactly", 2),
    ("negation_words", "don't DON’T dont not knot", 4),
    ("step_words", "first, then", 2),
    ("condition_words", "if so, unless", 2),
    ("specialist_words", "indemnify the plaintiff: dosage, mutex, eigenvalue", 5),
    ("code_request_words", "a python function", 2),
]  # fmt: skip


@pytest.mark.parametrize(("feature", "text", "expected"), EXAMPLES)
def test_feature(feature: str, text: str, expected: float) -> None:
    assert value(feature, text) == np.float32(expected)


@pytest.mark.parametrize(("feature", "text", "expected"), EXAMPLES)
def test_example_equals_twin(feature: str, text: str, expected: float) -> None:
    assert_equals_twin(text)


def test_every_feature_has_an_example_above_zero() -> None:
    assert {feature for feature, _, expected in EXAMPLES if expected > 0} == set(FEATURE_NAMES)


@pytest.mark.parametrize("pad", range(64))
def test_a_block_may_end_anywhere(pad: int) -> None:
    assert_equals_twin("x" * pad + "\n" + "\n".join(text for _, text, _ in EXAMPLES))


# Pieces that touch each other in every way; the words are common enough for classes to be found by chance.
ASCII_PIECES = st.text("aabBzZ09__  \n\t..,:;!?'\"`$%&()*+-/<=>@[\\]^{|}~#\r\x00\x7f", min_size=1, max_size=6)
OTHER_PIECES = st.text(
    "éñßİıØл́бЖЁйΣςάאبأَकनि्कไทยก็한국어なカー々漢字中文、。？！：“”„«»「」…·•–—①٣३½²×÷≤∑√€£¥％￥😀❤️👍🏽🇩🇪"
    "’\u00a0\u3000\u2028\u200d\ufe0f\ufffd\U00020000",
    min_size=1,
    max_size=6,
)
ENTRIES = sorted(
    {entry for languages in WORDS.values() for text in languages.values() for entry in text.split()}
)
PHRASES = [
    "https://a.b/c", "a@b.c", "/etc/passwd", "C:\\dir", "\\frac{1}{2}", "x_{1}", "$x^2$", "12:30:05",
    "2024-01-02", "ValueError: x", "[ERROR] ", "foo_bar(", "isOk", "\n- item", "\n1. x", "\n(2) y",
    "\nA) opt", " (B) ", "\n> q", "\n| a | b |", "\na\tb\tc", "<b>x</b>", "Name: v", "```\n", "`x`",
    "1,234.5", "$5", "50 %", "don't", "l’eau", "x - 3", "a=b", "3*4", "\n  at foo(", "option(s)",
    "file_x(s)", "_'_", " ", "  ", "xxxxxxxxxxxxxxxxxxxx",
]  # fmt: skip
TEXTS = st.lists(
    ASCII_PIECES
    | OTHER_PIECES
    | st.sampled_from(ENTRIES)
    | st.sampled_from(ENTRIES).map(str.upper)
    | st.sampled_from(PHRASES),
    max_size=40,
).map("".join)


@given(TEXTS)
def test_scan_equals_twin(text: str) -> None:
    assert_equals_twin(text)


@given(st.text(max_size=60))
def test_scan_equals_twin_on_any_characters(text: str) -> None:
    assert_equals_twin(text)


@given(st.binary(max_size=200))
def test_scan_equals_twin_on_random_bytes(data: bytes) -> None:
    assert_equals_twin(data)


@given(
    TEXTS,
    st.lists(
        st.tuples(st.integers(0, 400), st.sampled_from(b"\x80\xbf\xc3\xe2\xed\xf0\xf4\xff\xc0")), max_size=5
    ),
)
def test_invalid_bytes_read_as_replacement_characters(text: str, damage: list[tuple[int, int]]) -> None:
    data = bytearray(text.encode())
    for at, byte in damage:
        if at < len(data):
            data[at] = byte
    assert_equals_twin(bytes(data))
    ours = scan(bytes(data))
    repaired = scan(bytes(data).decode("utf-8", "replace"))
    assert ours[1:].tolist() == repaired[1:].tolist()


def test_nothing_is_counted_in_an_empty_text() -> None:
    assert not scan("").any()
    assert scan(b"").shape == (64,)
    assert scan("").dtype == np.float32


@pytest.mark.parametrize("text", ["\0", "\0" * 200, "a\0b", "\0\n\0 x", "hello\0world" * 20])
def test_nul_is_a_character(text: str) -> None:
    assert value("chars", text) == len(text)
    assert_equals_twin(text)


def test_a_lone_surrogate_reads_as_three_replacement_characters() -> None:
    assert value("chars", "a\ud800b") == 5
    assert_equals_twin("a\ud800b")


@pytest.mark.parametrize("wrong", [None, 3, ["a"]])
def test_other_types_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError):
        scan(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("inside", range(5))
@pytest.mark.parametrize("char", ["é", "中", "😀"])
def test_a_character_across_the_limit_is_not_read(char: str, inside: int) -> None:
    text = "a" * (LIMIT - inside) + char + "b" * 10
    size = len(char.encode())
    assert value("chars", text) == (LIMIT - inside if size > inside else LIMIT - size + 1)
    assert value("non_ascii_share", text) == np.float32((size <= inside) / value("chars", text))
    assert value("bytes", text) == len(text.encode())


@pytest.mark.parametrize(
    "tail", [b"\xe2\x82A", b"\xf0\x9f\x98", b"\x80\x80\x80\x80", b"\xc0\xff", b"\xed\xa0\x80"]
)
@pytest.mark.parametrize("inside", range(4))
def test_invalid_bytes_across_the_limit_read_as_in_the_whole_text(tail: bytes, inside: int) -> None:
    data = b"a" * (LIMIT - inside) + tail + b"b" * 10
    read = twin.scanned(data)
    assert value("chars", data) == len(read)
    assert value("punctuation_share", data) == np.float32(read.count("\ufffd") / len(read))


@pytest.mark.parametrize(
    "unit", ["_ ", "a ", "x_1(", "中文 ", "<a<", "/a/", ").", "`", "''", "1:", "\n", "é", "请"]
)
def test_a_mebibyte_and_more_of_one_unit(unit: str) -> None:
    text = unit * (LIMIT // len(unit.encode()) + 10)
    read = text.encode()[:LIMIT].decode("utf-8", "ignore")
    assert value("bytes", text) == np.float32(len(text.encode()))
    assert value("chars", text) == len(read)
    assert scan(read)[1:].tolist() == scan(text)[1:].tolist()
    # Counts grow with the text.
    tenth = dict(zip(FEATURE_NAMES, scan(unit * (LIMIT // len(unit.encode()) // 10)), strict=True))
    for feature in (
        "words",
        "identifiers",
        "numbers",
        "paths_and_urls",
        "lines",
        "code_marks",
        "social_words",
    ):
        assert value(feature, text) == pytest.approx(10 * tenth[feature], rel=1e-4, abs=20), feature


def test_a_long_mixed_text_equals_twin() -> None:
    pieces = [text for _, text, _ in EXAMPLES]
    text = " ".join(random.Random(7).choices(pieces, k=1500))
    assert_equals_twin(text)


def test_every_entry_of_the_lexicon_is_found_in_any_case() -> None:
    for word_class in COUNTED_CLASSES:
        feature = f"{word_class.name.lower()}_words"
        for language, entries in WORDS[word_class].items():
            for entry in entries.split():
                # A sequence may hold others.
                least = value(feature, entry)
                assert least >= 1 if language in SEQUENCE_LANGUAGES else least == 1, entry
                assert value(feature, entry.upper()) >= 1, entry


def test_the_lexicon_says_what_opens_a_question() -> None:
    for entries in WORDS[WordClass.AUXILIARY].values():
        for entry in entries.split():
            assert value("opens_with_question", f"{entry} x") == 1


def test_the_tables_are_those_of_the_lexicon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = Path(turnout_fastpath.__file__).parent / "word_classes.h"
    monkeypatch.setattr("sys.argv", ["word_classes", str(header), "--check"])
    assert word_classes.main() == 0
    stale = tmp_path / "stale.h"
    stale.write_text("", encoding="ascii")
    monkeypatch.setattr("sys.argv", ["word_classes", str(stale), "--check"])
    assert word_classes.main() == 1
    monkeypatch.setattr("sys.argv", ["word_classes", str(stale)])
    assert word_classes.main() == 0
    assert stale.read_bytes() == header.read_bytes()


@pytest.mark.parametrize(
    ("language", "entry", "message"),
    [
        ("zh", "一二三四五", "longer than 4"),
        ("en", "x" * 33, "33 bytes, limit: 32"),
        ("en", "trade-off", "more than one word"),
    ],
)
def test_an_entry_that_cannot_match_is_refused(
    language: str, entry: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word_classes, "WORDS", {WordClass.PLAN: {language: entry}})
    with pytest.raises(ValueError, match=message):
        word_classes.collect()
