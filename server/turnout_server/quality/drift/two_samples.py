"""How far two samples of categories lie apart, and how surely they do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

# Least expected count of a category that stands for itself (W. G. Cochran, "Some methods for strengthening the common
# chi-squared tests", Biometrics 10, 1954); rarer ones are taken together.
LEAST_EXPECTED = 5.0
# Added to every count of the index, so that a category which one sample lacks does not make it infinite.
SMOOTHING = 0.5

Counts = Mapping[str, float]


class Comparison(NamedTuple):
    """Two samples compared.

    Attributes:
        stability_index: the population stability index, the sum of (q - p) ln(q / p) over the categories' shares p and q.
        chance: of a G statistic at least as great where both samples are drawn from the same shares.
    """

    stability_index: float
    chance: float


def compare(before: Counts, after: Counts) -> Comparison:
    """Compares counts by category; equal, and certain of nothing, where either has none or there is one category.

    The index is the one of credit scoring (N. Siddiqi, Credit Risk Scorecards, 2006: below 0.1 no change, above 0.25 a
    major one). On samples of n and m with the same shares it is about (1/n + 1/m) times a chi-squared variable, so on
    small samples it is large by chance alone (B. Yurdakul and J. Naranjo, Statistical properties of the population
    stability index, Journal of Risk Model Validation 14, 2020): hence the test beside it, the likelihood ratio's
    (R. R. Sokal and F. J. Rohlf, Biometry, 1981, chapter 17).
    """
    pairs = _pool(before, after)
    n, m = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    if len(pairs) < 2 or not n or not m:
        return Comparison(0.0, 1.0)
    padding = SMOOTHING * len(pairs)
    index = statistic = 0.0
    for a, b in pairs:
        p, q = (a + SMOOTHING) / (n + padding), (b + SMOOTHING) / (m + padding)
        index += (q - p) * math.log(q / p)
        both = (a + b) / (n + m)
        statistic += 2 * sum(x * math.log(x / (total * both)) for x, total in ((a, n), (b, m)) if x)
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


def _pool(before: Counts, after: Counts) -> list[tuple[float, float]]:
    """Counts of both samples by category, those taken together that are rare in the smaller one."""
    n, m = sum(before.values()), sum(after.values())
    if not n or not m:
        return []
    # What a category's count in both must be, for the expected one in the smaller sample.
    least = LEAST_EXPECTED * (n + m) / min(n, m)
    pairs = sorted((before.get(name, 0.0), after.get(name, 0.0)) for name in before.keys() | after.keys())
    frequent = [pair for pair in pairs if sum(pair) >= least]
    rare = [pair for pair in pairs if sum(pair) < least]
    if rare:
        rest = sum(a for a, _ in rare), sum(b for _, b in rare)
        if sum(rest) < least and frequent:
            smallest = min(frequent, key=sum)
            frequent.remove(smallest)
            rest = rest[0] + smallest[0], rest[1] + smallest[1]
        frequent.append(rest)
    return frequent
