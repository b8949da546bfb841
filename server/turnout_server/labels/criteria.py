"""How the answers of a row are graded: the row's own columns, else what the command's flag says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson
import re2

from turnout_server.completion.gates.schemas import CompiledSchema, SchemaError, compile_schema

if TYPE_CHECKING:
    from turnout_fastpath.training.data_errors import RowError

# Of a compiled pattern; re2 matches in linear time whatever it is.
MAX_PATTERN_BYTES = 8 << 20
MAX_TESTS = 64


class Grader(StrEnum):
    """How an answer is graded."""

    EXACT = "exact"
    """1 where it is one of the expected texts."""
    NUMERIC = "numeric"
    """1 where its last number is the expected one."""
    REGEX = "regex"
    """1 where the pattern is found in it."""
    SCHEMA = "schema"
    """1 where it is JSON that fits the schema, which is asked for."""
    TESTS = "tests"
    """The share of unit tests that its code passes."""
    RUBRIC = "rubric"
    """What a judge gives it by a rubric, 0 to 1."""
    PAIRWISE = "pairwise"
    """How it fares beside the top tier's answer before a judge, asked in both orders."""


JUDGED = frozenset({Grader.RUBRIC, Grader.PAIRWISE})

# The column that a grader cannot do without.
_NEEDED = {
    Grader.EXACT: "expected",
    Grader.NUMERIC: "expected",
    Grader.REGEX: "pattern",
    Grader.SCHEMA: "schema",
    Grader.TESTS: "tests",
}
COLUMNS = frozenset({"grader", "expected", "tolerance", "pattern", "schema", "tests", "rubric", "reference"})


@dataclass(frozen=True)
class Criterion:
    """What an answer is held against. Fields that its grader does not read are empty.

    Attributes:
        grader: how.
        expected: the texts or numbers that are right, any of them.
        tolerance: how far a number may be off, absolute; 0: by a millionth of it.
        pattern: compiled.
        schema: compiled.
        schema_json: the same as text, for the request.
        tests: Python, each run in a process of its own behind the answer's code.
        rubric: what the judge is told to look at; empty: the usual.
        reference: an answer that is known to be good; empty: none.
        digest: of all of these, so that a grade is known to be of this criterion.
    """

    grader: Grader
    expected: tuple[str, ...] = ()
    tolerance: float = 0.0
    pattern: Any = field(default=None, repr=False)
    schema: CompiledSchema | None = None
    schema_json: str = ""
    tests: tuple[str, ...] = ()
    rubric: str = ""
    reference: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Usual:
    """What holds for rows that say nothing else.

    Attributes:
        grader: None: the one whose column the row has.
        rubric: of judged rows; empty: the judge's own.
        marks: by grader, what its grades depend on besides the row, such as who judges.
    """

    grader: Grader | None = None
    rubric: str = ""
    marks: Mapping[Grader, str] = field(default_factory=dict)


def read_criterion(row: Mapping[str, Any], usual: Usual) -> Criterion:
    """The criterion of a row of the file of prompts.

    Raises:
        RowError: names the column, the value and what is needed.
    """
    grader = _grader(row, usual.grader)
    needed = _NEEDED.get(grader)
    if needed is not None and _is_absent(row.get(needed)):
        raise _wrong(needed, f"absent, needed: what the grader {grader} holds answers against")
    told = {name: row[name] for name in sorted(COLUMNS) if not _is_absent(row.get(name))}
    told |= {"grader": grader.value, "mark": usual.marks.get(grader, "")}
    told |= {"usual": usual.rubric if grader in JUDGED else ""}
    digest = hashlib.blake2b(orjson.dumps(told, default=str), digest_size=8).hexdigest()
    criterion = Criterion(
        grader,
        rubric=_text(row, "rubric") or usual.rubric,
        reference=_text(row, "reference") or (_reference(row) if grader in JUDGED else ""),
        digest=digest,
    )
    fields = dict(vars(criterion))
    if grader in (Grader.EXACT, Grader.NUMERIC):
        fields |= {"expected": _expected(row, grader), "tolerance": _tolerance(row)}
    elif grader is Grader.REGEX:
        fields["pattern"] = _pattern(row)
    elif grader is Grader.SCHEMA:
        fields |= _schema(row)
    elif grader is Grader.TESTS:
        fields["tests"] = _tests(row)
    return Criterion(**fields)


def _grader(row: Mapping[str, Any], usual: Grader | None) -> Grader:
    told = row.get("grader")
    if not _is_absent(told):
        try:
            return Grader(str(told))
        except ValueError:
            raise _wrong("grader", f"{told!r}, needed: {', '.join(Grader)}") from None
    if usual is not None:
        return usual
    own = {"expected": Grader.EXACT, "pattern": Grader.REGEX, "schema": Grader.SCHEMA}
    own |= {"tests": Grader.TESTS, "rubric": Grader.RUBRIC}
    found = [grader for column, grader in own.items() if not _is_absent(row.get(column))]
    if len(found) != 1:
        columns = f"columns for {' and '.join(found)}" if found else "none, and no column that tells"
        raise _wrong("grader", f"{columns}; needed: a grader in the row, or --grader")
    return found[0]


def _expected(row: Mapping[str, Any], grader: Grader) -> tuple[str, ...]:
    told = row["expected"]
    values = told if isinstance(told, list) else [told]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise _wrong("expected", f"{value!r} is {type(value).__name__}, needed: text or a number")
    texts = tuple(str(value) for value in values)
    if grader is Grader.NUMERIC:
        from turnout_server.labels.graders import last_number

        for text in texts:
            if last_number(text) is None:
                raise _wrong("expected", f"{text!r} holds no number")
    return texts


def _tolerance(row: Mapping[str, Any]) -> float:
    told = row.get("tolerance")
    if told is None:
        return 0.0
    if isinstance(told, bool) or not isinstance(told, (int, float)) or not 0 <= told < float("inf"):
        raise _wrong("tolerance", f"{told!r}, needed: a number of at least 0")
    return float(told)


def _pattern(row: Mapping[str, Any]) -> Any:
    options = re2.Options()
    options.max_mem = MAX_PATTERN_BYTES
    options.log_errors = False
    try:
        return re2.compile(_text(row, "pattern"), options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise _wrong("pattern", f"no pattern of RE2: {said}") from error


def _schema(row: Mapping[str, Any]) -> dict[str, Any]:
    told = row["schema"]
    schema_json = told if isinstance(told, str) else orjson.dumps(told).decode()
    try:
        return {"schema": compile_schema(schema_json, "schema"), "schema_json": schema_json}
    except SchemaError as error:
        raise _wrong("schema", str(error).removeprefix("schema: ")) from error


def _tests(row: Mapping[str, Any]) -> tuple[str, ...]:
    told = row["tests"]
    tests = told if isinstance(told, list) else [told]
    if len(tests) > MAX_TESTS:
        raise _wrong("tests", f"{len(tests)} tests, limit: {MAX_TESTS}")
    for i, test in enumerate(tests):
        if not isinstance(test, str) or not test.strip():
            raise _wrong(f"tests[{i}]", f"{type(test).__name__}, needed: Python that raises where it fails")
        try:
            compile(test, "tests", "exec")
        except (SyntaxError, ValueError) as error:
            raise _wrong(f"tests[{i}]", f"no Python: {error}") from error
    return tuple(tests)


def _reference(row: Mapping[str, Any]) -> str:
    """What is expected is a reference to a judge too."""
    told = row.get("expected")
    return "" if _is_absent(told) else str(told[0] if isinstance(told, list) else told)


def _text(row: Mapping[str, Any], column: str) -> str:
    told = row.get(column)
    if told is None:
        return ""
    if not isinstance(told, str):
        raise _wrong(column, f"{type(told).__name__}, needed: text")
    return told


def _is_absent(value: Any) -> bool:
    return value is None or value in ("", [])


def _wrong(column: str, problem: str) -> RowError:
    from turnout_fastpath.training.data_errors import RowError

    return RowError(column, problem)
