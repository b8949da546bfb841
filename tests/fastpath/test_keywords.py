"""The automaton finds what regular expressions find, by the rules that keywords.pyx states."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from turnout_fastpath.keywords import KeywordAutomaton

from tests.fastpath.twins import keywords

# Few letters, so that phrases are found by chance; spaces, marks and scripts of every kind in the rules.
ALPHABET = "aabbB1_ \t.-+'é\u00c9ñΣσß\u00a0“”’…。、，Ａ中文の々한ไ😀"
PHRASES = st.text(ALPHABET, min_size=1, max_size=5).filter(lambda phrase: phrase.split())
GROUPS = st.lists(st.lists(PHRASES, max_size=3), max_size=4)


@given(groups=GROUPS, text=st.text(ALPHABET, max_size=40))
@example(groups=[["a"], ["ab"], ["b a"], ["a.b"]], text="ab a  b\ta a.b")
def test_scan_equals_the_twin(groups: list[list[str]], text: str) -> None:
    assert KeywordAutomaton(groups).scan(text) == keywords.scan(groups, text)


@given(
    groups=GROUPS, before=st.text(ALPHABET, max_size=10), after=st.text(ALPHABET, max_size=10), data=st.data()
)
def test_scan_equals_the_twin_around_a_phrase(
    groups: list[list[str]], before: str, after: str, data: st.DataObject
) -> None:
    phrases = [phrase for group in groups for phrase in group]
    if phrases:
        text = before + data.draw(st.sampled_from(phrases)) + after
        assert KeywordAutomaton(groups).scan(text) == keywords.scan(groups, text)


@given(
    groups=GROUPS,
    data=st.binary(max_size=60) | st.lists(st.sampled_from(b"ab \xc2\xe2\x80\x99\xe3\xef\xbc")).map(bytes),
)
def test_invalid_bytes_read_as_replacement_characters(groups: list[list[str]], data: bytes) -> None:
    assert KeywordAutomaton(groups).scan(data) == keywords.scan(groups, data.decode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("form", "Fill in the FORM."),
        ("form", "form"),
        ("form", "(form)"),
        ("unit test", "a unit \n\t test"),
        ("c++", "is C++ hard?"),
        (".net", "asp.net"),
        ("don't", "I DON'T know"),
        ("don’t", "I don’t know"),
        ("a_b", "x a_b"),
        ("straße", "Straße"),
        ("straße", "STRASSE"),
        ("élan vital", "Élan Vital"),
        ("中文", "用中文写"),
        ("人々", "すべての人々が"),
        ("東京", "「東京」"),
        ("ภาษา", "เขียนภาษาไทย"),
        ("form", "“form”"),
        ("form", "form\u00a0here"),
        ("25 °C", "at 25 °c"),
    ],
)
def test_phrase_is_found(phrase: str, text: str) -> None:
    assert KeywordAutomaton([[phrase]]).scan(text) == [0]


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("form", "inform"),
        ("form", "forms"),
        ("form", "form_a"),
        ("form", "form2"),
        ("form", "formé"),
        ("form", "fo rm"),
        ("unit test", "unittest"),
        ("unit test", "unit, test"),
        ("c++", "c+"),
        ("élan", "elan"),
        ("énorme été", "énorme Été"),
        ("form", ""),
    ],
)
def test_phrase_is_not_found(phrase: str, text: str) -> None:
    assert KeywordAutomaton([[phrase]]).scan(text) == []


def test_phrases_inside_each_other_are_all_found() -> None:
    groups = [["a"], ["b"], ["a b"], ["b c"], ["a b c"], ["d"]]
    assert KeywordAutomaton(groups).scan("x a b c") == [0, 1, 2, 3, 4]


def test_a_group_is_found_by_any_of_its_phrases() -> None:
    automaton = KeywordAutomaton([["one", "two"], ["three"]])
    assert automaton.scan("two") == [0]
    assert automaton.scan("three, one") == [0, 1]


def test_a_phrase_is_found_at_the_end_of_a_long_text() -> None:
    assert KeywordAutomaton([["needle"]]).scan("hay " * 1_000_000 + "needle") == [0]


def test_no_groups_find_nothing() -> None:
    assert KeywordAutomaton([]).scan("text") == []
    assert KeywordAutomaton([[], []]).scan("text") == []


def test_lone_surrogates_are_no_match_and_no_error() -> None:
    assert KeywordAutomaton([["form"]]).scan("\ud800 form") == [0]


def test_most_groups_are_taken_and_one_more_is_refused() -> None:
    groups = [[f"word{i}"] for i in range(1025)]
    automaton = KeywordAutomaton(groups[:1024])
    assert automaton.n_groups == 1024
    assert automaton.scan("word0 word63 word64 word1023") == [0, 63, 64, 1023]
    with pytest.raises(ValueError, match="1025 keyword groups, limit: 1024"):
        KeywordAutomaton(groups)


@pytest.mark.parametrize("phrase", ["", " \t\n", "\u3000"])
def test_empty_phrase_is_refused(phrase: str) -> None:
    with pytest.raises(ValueError, match="an empty phrase in keyword group 1"):
        KeywordAutomaton([["a"], ["b", phrase]])


def test_phrases_beyond_the_automaton_are_refused() -> None:
    phrases = [f"{i} " + "x" * 5000 for i in range(53)]
    with pytest.raises(ValueError, match=re.escape("states, limit: 262144")):
        KeywordAutomaton([phrases])
