"""The index and the test against SciPy's and by hand."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, chi2_contingency, fisher_exact
from turnout_server.quality.drift.two_samples import chi_squared_tail, compare

frequent = st.integers(50, 5000)


@given(st.floats(0, 1000), st.integers(1, 40))
def test_the_tail_is_scipys(statistic: float, degrees: int) -> None:
    assert chi_squared_tail(statistic, degrees) == pytest.approx(
        chi2.sf(statistic, degrees), rel=1e-9, abs=1e-300
    )


@given(st.lists(st.tuples(frequent, frequent), min_size=2, max_size=12))
def test_the_chance_is_that_of_the_likelihood_ratio(pairs: list[tuple[int, int]]) -> None:
    before = {str(number): float(pair[0]) for number, pair in enumerate(pairs)}
    after = {str(number): float(pair[1]) for number, pair in enumerate(pairs)}
    n, m = sum(before.values()), sum(after.values())
    if min(a + b for a, b in pairs) * min(n, m) / (n + m) < 5:
        return
    expected = chi2_contingency([list(before.values()), list(after.values())], False, "log-likelihood")
    assert compare(before, after).chance == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-300)


def test_the_index_by_hand() -> None:
    found = compare({"a": 5000, "b": 5000}, {"a": 2500, "b": 7500})
    assert found.stability_index == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5), rel=1e-3)


@pytest.mark.parametrize(
    ("before", "after"),
    [({}, {"a": 9}), ({"a": 9}, {}), ({"a": 9}, {"a": 3}), ({"a": 9, "b": 0}, {"a": 3, "b": 0})],
    ids=["nothing before", "nothing after", "one category", "another that nothing has"],
)
def test_nothing_is_certain_of_nothing(before: dict[str, float], after: dict[str, float]) -> None:
    assert compare(before, after) == (0.0, 1.0)


@pytest.mark.parametrize("sizes", [(100, 100_000), (100_000, 100), (3, 100_000), (20, 20)])
def test_a_total_change_is_one_however_unlike_the_sizes(sizes: tuple[int, int]) -> None:
    found = compare({"a": sizes[0]}, {"z": sizes[1]})
    assert found.stability_index > 1
    assert found.chance < 1e-9


def test_a_total_change_is_one_among_many_rare_categories() -> None:
    before = {f"c{number}": 4 for number in range(20)}
    assert compare(before, {"z": 10_000}).chance < 1e-9


rare = st.integers(0, 12)


@given(rare, rare, st.integers(12, 400), st.integers(12, 40_000))
def test_the_chance_of_what_is_rare_is_exact(a: int, b: int, rest_a: int, rest_b: int) -> None:
    n, m = a + rest_a, b + rest_b
    if not 0 < a + b < 5 * (n + m) / min(n, m):
        return
    expected = fisher_exact([[a, b], [rest_a, rest_b]]).pvalue
    found = compare({"rare": a, "usual": rest_a}, {"rare": b, "usual": rest_b})
    assert found.chance == pytest.approx(expected, rel=1e-6, abs=1e-300)


def test_too_few_tell_nothing() -> None:
    assert compare({"a": 1, "b": 1}, {"a": 1, "b": 2}).chance == pytest.approx(1.0)


def test_one_rare_category_that_is_gone_is_no_certainty() -> None:
    """The one of a hundred fell into the small sample by a chance of 100 in 100,100; the G-test would say a fifth of it."""
    found = compare({"a": 99, "b": 1}, {"a": 100_000})
    assert found.chance == pytest.approx(100 / 100_100)


def test_what_is_new_is_finite_and_certain() -> None:
    found = compare({"a": 1000.0}, {"a": 160.0, "b": 40.0})
    assert 0.2 < found.stability_index < 10
    assert found.chance < 1e-9


def test_rare_categories_do_not_add_degrees() -> None:
    """A hundred that occur once each, all different in the second sample, say no more than their sum."""
    usual = {"a": 1000.0, "b": 1000.0}
    before = usual | {f"c{number}": 1.0 for number in range(100)}
    after = usual | {f"d{number}": 1.0 for number in range(100)}
    assert compare(before, after).chance > 0.9


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 300), max_size=6),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 300), max_size=6),
)
def test_order_and_side_do_not_matter(before: dict[str, int], after: dict[str, int]) -> None:
    there, back = compare(before, after), compare(dict(reversed(after.items())), before)
    assert there == pytest.approx(back)
    assert there.stability_index >= 0
    assert 0 <= there.chance <= 1


def test_the_chance_holds_where_nothing_has_changed() -> None:
    """Of 2,000 pairs of samples of one mix, 1 in 20 is at 5%; a count beyond 140 has a chance below 1 in 10,000."""
    random = Random(1)
    names, weights = "abcdefgh", [40, 20, 10, 10, 8, 6, 4, 2]
    below = 0
    for _ in range(2000):
        before, after = (Counter(random.choices(names, weights, k=size)) for size in (400, 150))
        below += compare(before, after).chance <= 0.05
    assert 60 < below < 140


def test_what_is_new_and_rare_is_seen_together() -> None:
    """A hundred that never occurred, once each."""
    after = {"a": 900.0} | {f"d{number}": 1.0 for number in range(100)}
    found = compare({"a": 1000.0}, after)
    assert found.stability_index > 0.2
    assert found.chance < 1e-9
