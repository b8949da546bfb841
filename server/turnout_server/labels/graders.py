"""Grades that need neither a judge nor a process: pure functions of an answer's text."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

import orjson

from turnout_server.labels.criteria import Criterion, Grader

# Digits, with thousands set apart by commas or not; then a fraction, or an exponent.
_NUMBER = re.compile(
    r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s?/\s?\d{1,12}(?![\d.])|[eE][-+]?\d{1,3}(?!\d))?"
    r"|[-+−]?\.\d+(?:[eE][-+]?\d{1,3}(?!\d))?"
)
RELATIVE_TOLERANCE = Fraction(1, 1_000_000)


def grade_text(criterion: Criterion, text: str) -> float:
    """0 or 1, by a grader that looks at the text alone."""
    if criterion.grader is Grader.EXACT:
        return float(_plain(text) in {_plain(one) for one in criterion.expected})
    if criterion.grader is Grader.NUMERIC:
        return float(_is_number(text, criterion))
    if criterion.grader is Grader.REGEX:
        return float(criterion.pattern.search(text) is not None)
    assert criterion.grader is Grader.SCHEMA and criterion.schema is not None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return 0.0
    return float(criterion.schema.check(value).fits)


def last_number(text: str) -> Fraction | None:
    """The last number of a text, exact; thousands may be set apart by commas. None: there is none."""
    found = _NUMBER.findall(text)
    if not found:
        return None
    plain = found[-1].replace(",", "").replace("−", "-").replace(" ", "")
    try:
        return Fraction(plain)
    except (ValueError, ZeroDivisionError):
        return None


def _is_number(text: str, criterion: Criterion) -> bool:
    given = last_number(text)
    if given is None:
        return False
    for expected in criterion.expected:
        wanted = last_number(expected)
        assert wanted is not None
        allowed = Fraction(criterion.tolerance) or abs(wanted) * RELATIVE_TOLERANCE
        if abs(given - wanted) <= allowed:
            return True
    return False


def _plain(text: str) -> str:
    """Without case, form of characters, white space around and between, and a full stop behind."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".").rstrip()
