"""The labelled answers: what the wording finds, and that the published figures are those of the code."""

from __future__ import annotations

from collections import Counter

import pytest
from turnout_server.completion.gates.phrases import LANGUAGES
from turnout_server.completion.gates.wording import count_doubts, find_refusal, length, plain, without_quotes

from tests.server.completion.gates.labelled import LABELS, REFUSALS, read_labelled
from tests.server.completion.gates.measure import PAGE, measure, render


def test_there_are_enough_labelled_answers() -> None:
    rows = list(read_labelled())
    assert len(rows) >= 300
    assert {row.label for row in rows} == LABELS
    assert len({row.language for row in rows}) >= 8
    assert {row.language for row in rows} == set(LANGUAGES)
    assert max(Counter((row.language, row.text) for row in rows).values()) == 1
    apart = sum(row.set_apart for row in rows)
    assert 0.28 < apart / len(rows) < 0.4
    for language in LANGUAGES:
        of = [row for row in rows if row.language == language]
        assert sum(row.label in REFUSALS for row in of) >= 5
        assert any(row.label == "unsure" for row in of)
        assert any(row.label == "hedged_essay" for row in of)


def test_the_published_figures_are_those_of_the_code() -> None:
    assert render(measure()) in PAGE.read_text(encoding="utf-8"), (
        "run `python -m tests.server.completion.gates.measure --write`"
    )


def test_the_wording_does_what_it_was_developed_to_do() -> None:
    for figures in measure():
        if figures.part == "developed on" and figures.language == "all":
            assert figures.precision >= 0.95, figures
            assert figures.recall >= 0.95, figures


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ('He said "no" twice', "he said   twice"),
        ("“I can't”", "“i can't”"),
        ("«Non» dit-il", "  dit-il"),
        ("„Nein“, sagte er", " , sagte er"),
        ("»Nein«, sagte er", " , sagte er"),
        ("— No puedo\nDijo", "\ndijo"),
        ("—No puedo —dijo, y cerró.", "—dijo, y cerró."),
        ("a — b", "a — b"),
        ('5" and 6', '5" and 6'),
        ("「だめ」と言った", " と言った"),
    ],
)
def test_what_others_say_is_taken_out(text: str, rest: str) -> None:
    assert without_quotes(plain(text)) == rest


def test_a_refusal_is_at_the_start_or_none() -> None:
    assert find_refusal("I can't help with that.") is not None
    assert find_refusal("One. Two. Three. I can't help with that.") is None
    assert find_refusal("The story begins. " + "x" * 400 + " I can't help with that.") is None


@pytest.mark.parametrize(
    ("text", "policy", "helps"),
    [
        ("I can't help with that.", False, False),
        ("I can't help with that, it violates our policy.", True, False),
        ("I can't help with that. Feel free to ask me something else. Let me know.", False, False),
        ("I can't diagnose you, but " + "rest the knee and cool it. " * 12, False, True),
    ],
)
def test_what_follows_a_refusal_counts(text: str, policy: bool, helps: bool) -> None:
    found = find_refusal(text)
    assert found is not None
    assert found.policy is policy
    assert (found.help_chars >= 240) is helps


def test_doubts_are_counted_in_the_first_person() -> None:
    assert count_doubts("I'm not sure. I might be wrong. I don't know.") == 3
    assert count_doubts("He was not sure, and they may be wrong; nobody can know.") == 0
    assert count_doubts('"I don\'t know," she said.') == 0


def test_a_character_of_chinese_counts_as_some_letters() -> None:
    assert length("abcd") == 4
    assert length("北京ab") == 7
