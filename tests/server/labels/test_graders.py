"""Graders, by tables and against numbers that are written in every way."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_fastpath.training.data_errors import DataError, RowError
from turnout_server.labels.criteria import Grader, Usual, read_criterion
from turnout_server.labels.graders import grade_text, last_number
from turnout_server.labels.prompt_rows import read_prompts

SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("row", "answer", "score"),
    [
        ({"expected": "Paris"}, " paris.\n", 1),
        ({"expected": "Paris"}, "It is Paris", 0),
        ({"expected": ["Paris", "Lutetia"]}, "LUTETIA", 1),
        ({"expected": "ﬁne"}, "fine", 1),
        ({"expected": 7, "grader": "numeric"}, "3 and 4 make 7.", 1),
        ({"expected": 7, "grader": "numeric"}, "7 is what 3 and 4 make", 0),
        ({"expected": "1,234.5", "grader": "numeric"}, "about $1234.50", 1),
        ({"expected": 0.5, "grader": "numeric"}, "so 1/2", 1),
        ({"expected": 10, "tolerance": 1, "grader": "numeric"}, "11", 1),
        ({"expected": 10, "tolerance": 1, "grader": "numeric"}, "11.01", 0),
        ({"expected": -3, "grader": "numeric"}, "−3", 1),
        ({"expected": 1, "grader": "numeric"}, "none", 0),
        ({"expected": 1, "grader": "numeric"}, "1/0", 0),
        ({"pattern": "^ab+$"}, "abbb", 1),
        ({"pattern": "(?i)yes"}, "Oh, YES", 1),
        ({"pattern": "^ab+$"}, "xabbb", 0),
        ({"schema": SCHEMA}, '{"a": 1}', 1),
        ({"schema": orjson.dumps(SCHEMA).decode()}, '{"a": "1"}', 0),
        ({"schema": SCHEMA}, '```json\n{"a": 1}\n```', 0),
        ({"schema": SCHEMA}, "", 0),
    ],
)
def test_an_answer_and_its_grade(row: dict[str, Any], answer: str, score: float) -> None:
    assert grade_text(read_criterion(row, Usual()), answer) == score


@given(
    st.integers(-(10**12), 10**12),
    st.integers(0, 6),
    st.sampled_from(["", ",", "$"]),
    st.text("ab c", max_size=9),
)
def test_the_last_number_is_read_exactly(number: int, places: int, style: str, around: str) -> None:
    value = Fraction(number, 10**places)
    whole, rest = divmod(abs(number), 10**places)
    shown = f"{whole:,}" if style == "," else str(whole)
    text = f"{'-' if number < 0 else ''}{'$' if style == '$' and number >= 0 else ''}{shown}"
    text += f".{rest:0{places}d}" if places else ""
    assert last_number(f"8 {around} {text}{around and ' '}{around}") == value


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        ({}, "grader", "none, and no column that tells; needed: a grader in the row, or --grader"),
        ({"expected": "a", "pattern": "a"}, "grader", "columns for exact and regex"),
        ({"grader": "nose"}, "grader", "'nose', needed: exact, numeric"),
        ({"grader": "exact"}, "expected", "absent"),
        ({"expected": True}, "expected", "True is bool"),
        ({"expected": "x", "grader": "numeric"}, "expected", "'x' holds no number"),
        ({"expected": 1, "tolerance": -1, "grader": "numeric"}, "tolerance", "-1, needed"),
        ({"pattern": "("}, "pattern", "no pattern of RE2"),
        ({"pattern": "(?=a)"}, "pattern", "no pattern of RE2"),
        ({"schema": "{"}, "schema", "no JSON"),
        ({"schema": {"$ref": "https://example.com/x.json"}}, "schema", "$ref"),
        ({"tests": ["assert 1", "assert ("]}, "tests[1]", "no Python"),
        ({"tests": ["assert 1"] * 65}, "tests", "65 tests, limit: 64"),
        ({"rubric": 5}, "rubric", "int, needed: text"),
    ],
)
def test_a_criterion_that_cannot_be_used_is_named(row: dict[str, Any], column: str, problem: str) -> None:
    with pytest.raises(RowError) as caught:
        read_criterion(row, Usual())
    assert caught.value.column == column
    assert caught.value.problem.startswith(problem)


def test_the_row_says_how_before_the_flag_does() -> None:
    usual = Usual(Grader.NUMERIC)
    assert read_criterion({"expected": 1}, usual).grader is Grader.NUMERIC
    assert read_criterion({"expected": 1, "grader": "exact"}, usual).grader is Grader.EXACT


def test_a_grade_is_of_its_criterion() -> None:
    one = read_criterion({"rubric": "x"}, Usual())
    assert one.digest == read_criterion({"rubric": "x", "prompt": "other"}, Usual()).digest
    assert one.digest != read_criterion({"rubric": "y"}, Usual()).digest
    assert one.digest != read_criterion({"rubric": "x"}, Usual(marks={Grader.RUBRIC: "another judge"})).digest


GOOD = {"prompt": "How many?", "expected": "1"}


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"expected": "1"}, "row 2: prompt: none given"),
        (GOOD | {"id": 5, "task": 7}, "row 2: task: 7 is int, needed: text"),
        (GOOD | {"features": [1.0], "prompt": None, "features_revision": "x"}, "row 2: features: a stored vector"),
        (GOOD | {"tools": 3}, "row 2: tools: 3, needed: their definitions"),
        (GOOD | {"prompt": None, "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "http://x"}}]}]},
         "row 2: messages[0].content[1]: "),
        (GOOD | {"grader": "regex"}, "row 2: pattern: absent"),
        (GOOD | {"id": "a"}, "row 2: id: 'a' is row 1's already"),
    ],
)  # fmt: skip
def test_bad_data_names_row_and_column(tmp_path: Path, bad: dict[str, Any], where: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps(row) for row in (GOOD | {"id": "a"}, bad)))
    with pytest.raises(DataError) as caught:
        read_prompts(path, Usual(), max_output_tokens=9, temperature=None)
    assert f"{path}: {where}" in str(caught.value)


def test_rows_get_names_and_keep_what_labels_need(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    rows = [
        GOOD,
        GOOD | {"task": "math", "weight": 2.0},
        GOOD | {"id": "mine"},
        {"schema": SCHEMA, "prompt": "x"},
    ]
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    first, second, third, fourth = read_prompts(path, Usual(), max_output_tokens=9, temperature=0.5)
    assert first.digest == second.digest == third.digest != fourth.digest
    assert second.id == f"{first.id}-2" and third.id == "mine"
    assert second.kept == {"prompt": "How many?", "task": "math", "weight": 2.0}
    assert fourth.chat.response_format.schema_json and fourth.chat.temperature == 0.5
