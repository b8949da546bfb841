"""How far two samples of categories lie apart, and how surely they do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

# Least expected count of a category that stands for itself (W. G. Cochran, "Some methods for strengthening the common
# chi-squared tests", Biometrics 10, 1954); rarer ones are taken together. Where only two remain and one is rarer still,
# he has Fisher's exact test instead.
LEAST_EXPECTED = 5.0
# Probabilities so close to each other are the same one, rounded.
SAME = 1 + 1e-7
# Added to every count of the index, so that a category which one sample lacks does not make it infinite.
SMOOTHING = 0.5

Counts = Mapping[str, float]
Pair = tuple[float, float]


class Comparison(NamedTuple):
    """Two samples compared.

    Attributes:
        stability_index: the population stability index, the sum of (q - p) ln(q / p) over the categories' shares p and q.
        chance: of samples at least as far apart where both are drawn from the same shares.
    """

    stability_index: float
    chance: float


def compare(before: Counts, after: Counts) -> Comparison:
    """Compares whole counts by category; equal, and certain of nothing, where either has none or there is one category.

    The index is the one of credit scoring (N. Siddiqi, Credit Risk Scorecards, 2006: below 0.1 no change, above 0.25 a
    major one). On samples of n and m with the same shares it is about (1/n + 1/m) times a chi-squared variable, so on
    small samples it is large by chance alone (B. Yurdakul and J. Naranjo, Statistical properties of the population
    stability index, Journal of Risk Model Validation 14, 2020): hence the test beside it, the likelihood ratio's
    (R. R. Sokal and F. J. Rohlf, Biometry, 1981, chapter 17), or the exact one where counts are too small for that.
    """
    n, m = sum(before.values()), sum(after.values())
    if not n or not m:
        return Comparison(0.0, 1.0)
    # What a category's count in both must be, for the expected one in the smaller sample.
    least = LEAST_EXPECTED * (n + m) / min(n, m)
    pairs = _pool(before, after, least)
    if len(pairs) < 2:
        return Comparison(0.0, 1.0)
    padding = SMOOTHING * len(pairs)
    index = statistic = 0.0
    for a, b in pairs:
        p, q = (a + SMOOTHING) / (n + padding), (b + SMOOTHING) / (m + padding)
        index += (q - p) * math.log(q / p)
        both = (a + b) / (n + m)
        statistic += 2 * sum(x * math.log(x / (total * both)) for x, total in ((a, n), (b, m)) if x)
    if min(map(sum, pairs)) < least:
        return Comparison(index, exact_tail(*pairs))
    return Comparison(index, chi_squared_tail(statistic, len(pairs) - 1))


def chi_squared_tail(statistic: float, degrees: int) -> float:
    """The chance of a chi-squared variable above `statistic`, for whole degrees of freedom from 1.

    By Q(a + 1, x) = Q(a, x) + x^a e^-x / Gamma(a + 1) from Q(1/2, x) = erfc(sqrt(x)) or Q(1, x) = e^-x (Abramowitz and
    Stegun, 6.5.21 and 6.5.17).
    """
    x = max(statistic, 0.0) / 2
    a = 1.0 if degrees % 2 == 0 else 0.5
    tail = math.exp(-x) if a == 1.0 else math.erfc(math.sqrt(x))
    term = math.exp(-x) * x**a / math.gamma(a + 1)
    while a < degrees / 2:
        tail += term
        a += 1
        term *= x / a
    return min(tail, 1.0)


def exact_tail(one: Pair, other: Pair) -> float:
    """The chance of two samples of two categories that is at most as likely as these counts, by Fisher's exact test.

    The counts of one category in the first sample are hypergeometric, given the samples' sizes and the category's count
    in both (R. A. Fisher, Statistical Methods for Research Workers, 5th edition, 1934, section 21.02).
    """
    n, m, both = int(one[0] + other[0]), int(one[1] + other[1]), int(sum(one))
    counts = range(max(0, both - m), min(both, n) + 1)
    logs = {a: _log_choices(n, a) + _log_choices(m, both - a) for a in counts}
    whole = _log_choices(n + m, both)
    seen = math.exp(logs[int(one[0])] - whole)
    return min(1.0, sum(p for log in logs.values() if (p := math.exp(log - whole)) <= seen * SAME))


def _log_choices(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def _pool(before: Counts, after: Counts, least: float) -> list[Pair]:
    """Counts of both samples by category, those taken together that are below `least` in both together.

    The most frequent category stands for itself whatever it counts, and what differs from it is never added to it: where
    there are two categories, two pairs remain, and of them one or both may be below `least`. Of more than two, none is.
    """
    pairs = [(before.get(name, 0.0), after.get(name, 0.0)) for name in sorted(before.keys() | after.keys())]
    # In order of the counts of both alone, which do not tell the samples apart.
    pairs = sorted((pair for pair in pairs if sum(pair)), key=sum, reverse=True)
    kept = max(1, sum(sum(pair) >= least for pair in pairs))
    frequent, rest = pairs[:kept], _together(pairs[kept:])
    if 0 < sum(rest) < least and kept > 1:
        rest = _together([rest, frequent.pop()])
    return [*frequent, rest] if sum(rest) else frequent


def _together(pairs: Iterable[Pair]) -> Pair:
    total = 0.0, 0.0
    for a, b in pairs:
        total = total[0] + a, total[1] + b
    return total
