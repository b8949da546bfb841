"""What recorded pairs of models say of the heads: a mean for each kind of prompt, and a linear expert for each family.

A family is a benchmark (or any source of labels); its kinds are its subjects. Labels of two families are of other
models, hence mean different things, and a family's kinds explain most of what can be known: so the net tells kinds
apart (a softmax), and what the kind leaves open is learned within each family alone.

    output = sum over kinds k of P(k) * mean_k  +  sum over families f of P(f) * (z @ linear_f + bias_f)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Numbers = npt.NDArray[np.intp]

# Rows with which a kind's mean is pulled towards its family's, and a family's towards that of all.
KIND_PRIOR_ROWS = 10.0
FAMILY_PRIOR_ROWS = 5.0
# A family with fewer labels has means alone.
FAMILY_MIN_ROWS = 50
PENALTIES = (300.0, 1000.0, 3000.0, 10_000.0, 30_000.0)
# A family's own n-gram columns are fitted already, without the row's group: they hardly need a penalty.
OWN_COLUMN_PENALTY = 0.01
PENALTY_FOLDS = 4
# Curvature of a row's log loss at middling probabilities, against 1 of a square.
LOGISTIC_CURVATURE = 0.2
NEWTON_STEPS = 8


@dataclass(frozen=True)
class Experts:
    """Tables that turn inputs and kinds into outputs: a logit for each head, then a gain for each head.

    Attributes:
        means: (kinds, outputs) what a kind says.
        family_of: (kinds,) family of each kind.
        linear, bias: (families, d, outputs) and (families, outputs), on standardised inputs.
    """

    means: Floats
    family_of: Numbers
    linear: Floats
    bias: Floats

    def parts(self, z: Floats, kinds: Floats) -> tuple[Floats, Floats]:
        """Two (n, outputs) whose sum is the output, from (n, d) standardised inputs and (n, kinds) probabilities.

        The means of kinds, and what the linear experts add.
        """
        local = np.zeros((len(z), self.means.shape[1]), np.float32)
        for family in range(len(self.linear)):
            share = kinds[:, self.family_of == family].sum(axis=1, keepdims=True)
            local += share * (z @ self.linear[family] + self.bias[family])
        return np.asarray(kinds @ self.means, np.float32), local


def softmax(logits: Floats) -> Floats:
    """(n, k) probabilities."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Floats = powers / powers.sum(axis=1, keepdims=True)
    return result


def fit_experts(
    z: Floats,
    probabilities: Floats,
    kinds: Numbers,
    family_of: Numbers,
    suffices: Floats,
    gains: Floats,
    row_weights: Floats,
    own_columns: list[list[int]],
    folds: Numbers,
) -> Experts:
    """Fits means and linear experts on labelled rows.

    Args:
        z: (n, d) standardised inputs.
        probabilities: (n, kinds) of the net.
        kinds: (n,) the true ones.
        family_of: (kinds,).
        suffices, gains: (n, heads); NaN where unknown.
        row_weights: (n,) of the labels.
        own_columns: of each family, the inputs that are n-gram columns fitted on it.
        folds: (n,) in [0, PENALTY_FOLDS), groups whole.
    """
    heads = suffices.shape[1]
    families = len(own_columns)
    means = np.zeros((len(family_of), 2 * heads))
    linear = np.zeros((families, z.shape[1], 2 * heads))
    bias = np.zeros((families, 2 * heads))
    for output in range(2 * heads):
        logistic = output < heads
        labels = (suffices if logistic else gains)[:, output % heads]
        known = ~np.isnan(labels)
        if not known.any():
            continue
        table = kind_means(labels[known], kinds[known], row_weights[known], family_of)
        means[:, output] = np.log(table / (1 - table)) if logistic else table
        offset = probabilities @ means[:, output]
        for family, own in enumerate(own_columns):
            rows = np.flatnonzero(known & (family_of[kinds] == family))
            if len(rows) < FAMILY_MIN_ROWS:
                continue
            weights = np.ones(z.shape[1])
            weights[own] = OWN_COLUMN_PENALTY
            flat = probabilities[rows] @ table
            penalty = weights * choose_penalty(
                z[rows], labels[rows] - flat, row_weights[rows], weights, folds[rows]
            )
            if logistic:
                fitted = fit_logistic(
                    z[rows], labels[rows], offset[rows], row_weights[rows], LOGISTIC_CURVATURE * penalty
                )
            else:
                fitted = fit_linear(z[rows], labels[rows] - offset[rows], row_weights[rows], penalty)
            linear[family, :, output], bias[family, output] = fitted
    return Experts(means.astype(np.float32), family_of, linear.astype(np.float32), bias.astype(np.float32))


def kind_means(
    labels: Floats, kinds: Numbers, weights: Floats, family_of: Numbers
) -> npt.NDArray[np.float64]:
    """(kinds,) mean label of each kind, pulled towards its family's; for labels in [0, 1] it stays inside."""
    size = len(family_of)
    families = int(family_of.max()) + 1
    overall = float(np.clip(np.average(labels, weights=weights), 0.01, 0.99))
    rows, sums = (np.bincount(kinds, values, minlength=size) for values in (weights, weights * labels))
    family_rows = np.bincount(family_of, rows, minlength=families)
    family_sums = np.bincount(family_of, sums, minlength=families)
    family_means = (family_sums + FAMILY_PRIOR_ROWS * overall) / (family_rows + FAMILY_PRIOR_ROWS)
    result: npt.NDArray[np.float64] = (sums + KIND_PRIOR_ROWS * family_means[family_of]) / (
        rows + KIND_PRIOR_ROWS
    )
    return result


def fit_linear(z: Floats, values: Floats, weights: Floats, penalty: Floats) -> tuple[Floats, float]:
    """Ridge: coefficients and intercept; `penalty` a coefficient, (d,)."""
    centre, middle = np.average(z, axis=0, weights=weights), float(np.average(values, weights=weights))
    centred = (z - centre).astype(np.float64)
    weighted = centred * weights[:, None]
    coefficients = np.linalg.solve(weighted.T @ centred + np.diag(penalty), weighted.T @ (values - middle))
    return coefficients, middle - float(centre @ coefficients)


def fit_logistic(
    z: Floats, labels: Floats, offset: Floats, weights: Floats, penalty: Floats
) -> tuple[Floats, float]:
    """Ridge-penalised logistic regression on top of `offset` logits, by Newton's method."""
    x = np.hstack([z, np.ones((len(z), 1))]).astype(np.float64)
    ridge = np.concatenate([penalty, [1e-6]])
    beta = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        chance = 1 / (1 + np.exp(-(offset + x @ beta)))
        gradient = x.T @ (weights * (chance - labels)) + ridge * beta
        curvature = (x * (weights * chance * (1 - chance))[:, None]).T @ x + np.diag(ridge)
        step = np.linalg.solve(curvature, gradient)
        beta -= step
        if np.abs(step).max() < 1e-6:
            break
    return beta[:-1], float(beta[-1])


def choose_penalty(z: Floats, values: Floats, row_weights: Floats, weights: Floats, folds: Numbers) -> float:
    """The penalty of PENALTIES with the least squared error on folds that the fit has not seen.

    Args:
        z, values, row_weights: (n, d), (n,), (n,).
        weights: (d,) of the penalty by input.
        folds: (n,).
    """
    errors = np.zeros(len(PENALTIES))
    for fold in range(PENALTY_FOLDS):
        rest, own = folds != fold, folds == fold
        if not own.any() or not rest.any():
            continue
        w = row_weights[rest]
        centre, middle = np.average(z[rest], axis=0, weights=w), np.average(values[rest], weights=w)
        x = (z[rest] - centre).astype(np.float64)
        weighted = x * w[:, None]
        gram, moment = weighted.T @ x, weighted.T @ (values[rest] - middle)
        for i, penalty in enumerate(PENALTIES):
            # As many rows short, as much less penalty.
            ridge = np.diag(weights * penalty * rest.mean())
            predicted = middle + (z[own] - centre) @ np.linalg.solve(gram + ridge, moment)
            errors[i] += row_weights[own] @ (values[own] - predicted) ** 2
    return PENALTIES[int(errors.argmin())]
