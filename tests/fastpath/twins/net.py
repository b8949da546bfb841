"""The trainer's net with NumPy, in the kernel's float32 arithmetic; equal to the kernel bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from turnout_fastpath.onnx_graph import NetGraph

Floats = npt.NDArray[np.float32]
LANES = 8
F = np.float32


def net_scores(graph: NetGraph, row: Floats) -> Floats:
    """(n_scores,) scores of one row of inputs."""
    shifts, kinds = len(graph.place), len(graph.spread)
    rest = _standardise(graph, np.zeros_like(row))
    change = _standardise(graph, row) - rest
    hidden = _add(_add(graph.inner_bias, rest, graph.inner), change, graph.inner)
    mixed = _add(_add(graph.bias, rest, graph.direct), change, graph.direct)
    mixed = _add(mixed, np.maximum(hidden, F(0)), graph.outer)
    own, gate, kind, expert = np.split(mixed, np.cumsum([graph.n_scores + shifts, shifts, kinds]))
    weights = _add(np.zeros(len(expert), F), _softmax(kind), graph.spread) * expert
    joined = _add(own, weights, graph.collect)
    shift = F(1) / (F(1) + _exp(-gate)) * joined[graph.n_scores :]
    return _add(joined[: graph.n_scores], shift, graph.place)


def _standardise(graph: NetGraph, row: Floats) -> Floats:
    z: Floats = np.clip((row - graph.mean) * graph.scale, F(graph.low), F(graph.high))
    return z


def _add(sums: Floats, values: Floats, weights: Floats) -> Floats:
    for value, weight in zip(values, weights, strict=True):
        sums = sums + value * weight
    return sums


def _exp(x: Floats) -> Floats:
    """e^x between -87 and 87, by Cephes' polynomial."""
    x = np.clip(x, F(-87), F(87))
    steps = np.rint(x * F(1.44269504088896341))
    x = x - steps * F(0.693359375)
    x = x - steps * F(-2.12194440e-4)
    y = np.full_like(x, 1.9875691500e-4)
    for coefficient in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
        y = y * x + F(coefficient)
    y = y * (x * x) + x + F(1)
    grown: Floats = np.ldexp(y, steps.astype(np.int32))
    return grown


def _softmax(logits: Floats) -> Floats:
    x = logits - logits.max()
    grown = np.where(x > F(-20), _exp(x), F(0))
    totals = np.zeros(LANES, F)
    for at in range(0, len(grown), LANES):
        lanes = np.zeros(LANES, F)
        part = grown[at : at + LANES]
        lanes[: len(part)] = part
        totals = totals + lanes
    while len(totals) > 1:
        half = len(totals) // 2
        totals = totals[:half] + totals[half:]
    shares: Floats = grown / totals[0]
    return shares
