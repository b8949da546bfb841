"""The classifier: a linear map plus one hidden layer, for several kinds of output at once, fitted by Adam."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Standard deviations beyond which an input counts no further: one strange value must not decide.
CLIP = 6.0


@dataclass(frozen=True)
class Targets:
    """Labels of n rows; a weight of 0 marks a label that a row does not have.

    Attributes:
        classes: for each group of outputs that is a choice of one: (n,) class numbers and (n,) weights.
        binary, binary_weights: (n, b) values in [0, 1], fitted by cross-entropy.
        values, value_weights: (n, v) real values, fitted by squares.
    """

    classes: tuple[tuple[npt.NDArray[np.intp], Floats], ...]
    binary: Floats
    binary_weights: Floats
    values: Floats
    value_weights: Floats

    def take(self, rows: npt.NDArray[np.intp]) -> Targets:
        """The labels of these rows."""
        return Targets(
            tuple((labels[rows], weights[rows]) for labels, weights in self.classes),
            self.binary[rows],
            self.binary_weights[rows],
            self.values[rows],
            self.value_weights[rows],
        )


@dataclass(frozen=True)
class Net:
    """scores = x @ direct + relu(x @ inner + inner_bias) @ outer + bias, x standardised and clipped to +-CLIP before."""

    mean: Floats
    scale: Floats
    inner: Floats
    inner_bias: Floats
    outer: Floats
    direct: Floats
    bias: Floats

    def standardise(self, rows: Floats) -> Floats:
        """(n, d) inputs as the layers read them."""
        result: Floats = np.clip((rows - self.mean) * self.scale, -CLIP, CLIP)
        return result

    def scores(self, rows: Floats) -> Floats:
        """(n, outputs): the class logits of each group, then binary logits, then values."""
        x = self.standardise(rows)
        hidden = np.maximum(x @ self.inner + self.inner_bias, 0)
        result: Floats = x @ self.direct + hidden @ self.outer + self.bias
        return result


def merge(nets: list[Net]) -> Net:
    """One net whose scores are the mean of the nets' scores; they must share their standardisation."""
    n = len(nets)
    return Net(
        mean=nets[0].mean,
        scale=nets[0].scale,
        inner=np.hstack([net.inner for net in nets]),
        inner_bias=np.concatenate([net.inner_bias for net in nets]),
        outer=np.vstack([net.outer / n for net in nets]).astype(np.float32),
        direct=np.mean([net.direct for net in nets], axis=0).astype(np.float32),
        bias=np.mean([net.bias for net in nets], axis=0).astype(np.float32),
    )


@dataclass(frozen=True)
class NetSettings:
    """How a net is fitted."""

    hidden: int = 64
    epochs: int = 30
    batch: int = 256
    rate: float = 3e-3
    decay: float = 2e-2
    dropout: float = 0.15
    value_share: float = 2.0


def standardisation(rows: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted mean, and the reciprocal of the standard deviation (0 for a constant column)."""
    total = weights.sum()
    mean = weights @ rows / total
    deviation = np.sqrt(weights @ (rows - mean) ** 2 / total)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
    return mean.astype(np.float32), scale.astype(np.float32)


def fit_net(
    rows: Floats,
    targets: Targets,
    widths: list[int],
    *,
    scaling: tuple[Floats, Floats],
    settings: NetSettings,
    seed: int,
) -> Net:
    """Fits one net by Adam with decoupled weight decay (Loshchilov and Hutter 2019) and a cosine schedule.

    Args:
        rows: (n, d) inputs.
        targets: their labels.
        widths: number of classes of each class group.
        scaling: of `standardisation`.
        settings: how.
        seed: of initial weights, order and dropout.
    """
    random = np.random.default_rng(seed)
    mean, scale = scaling
    x = np.clip((rows - mean) * scale, -CLIP, CLIP).astype(np.float32)
    n, d = x.shape
    outputs = sum(widths) + targets.binary.shape[1] + targets.values.shape[1]
    h = settings.hidden
    parameters: list[Floats] = [
        (random.standard_normal((d, h)) / np.sqrt(d)).astype(np.float32),
        np.zeros(h, np.float32),
        np.zeros((h, outputs), np.float32),
        np.zeros((d, outputs), np.float32),
        np.zeros(outputs, np.float32),
    ]
    parameters[2] = (random.standard_normal((h, outputs)) / np.sqrt(h) * 0.3).astype(np.float32)
    first = [np.zeros_like(p) for p in parameters]
    second = [np.zeros_like(p) for p in parameters]
    decayed = (True, False, True, True, False)
    steps = settings.epochs * -(-n // settings.batch)
    t = 0
    for _ in range(settings.epochs):
        order = random.permutation(n)
        for at in range(0, n, settings.batch):
            batch = order[at : at + settings.batch]
            t += 1
            rate = settings.rate * 0.5 * (1 + np.cos(np.pi * t / steps))
            gradients = _gradients(parameters, x[batch], targets.take(batch), widths, settings, random)
            for i, gradient in enumerate(gradients):
                first[i] = 0.9 * first[i] + 0.1 * gradient
                second[i] = 0.999 * second[i] + 0.001 * gradient * gradient
                step = np.asarray(
                    first[i] / (1 - 0.9**t) / (np.sqrt(second[i] / (1 - 0.999**t)) + 1e-8), np.float32
                )
                if decayed[i]:
                    step += np.float32(settings.decay) * parameters[i]
                parameters[i] = parameters[i] - np.float32(rate) * step
    return Net(mean, scale, parameters[0], parameters[1], parameters[2], parameters[3], parameters[4])


def _gradients(
    parameters: list[Floats],
    x: Floats,
    targets: Targets,
    widths: list[int],
    settings: NetSettings,
    random: np.random.Generator,
) -> list[Floats]:
    inner, inner_bias, outer, direct, bias = parameters
    # Inverted dropout of the inputs and of the hidden layer.
    keep = 1 - settings.dropout
    x = np.asarray(x * ((random.random(x.shape, np.float32) < keep) / np.float32(keep)), np.float32)
    before = x @ inner + inner_bias
    mask = (before > 0) * ((random.random(before.shape, np.float32) < keep) / np.float32(keep))
    hidden = before * mask
    scores = x @ direct + hidden @ outer + bias
    error = np.zeros_like(scores)
    at = 0
    for (labels, weights), width in zip(targets.classes, widths, strict=True):
        part = scores[:, at : at + width]
        share = np.exp(part - part.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(labels)), labels] -= 1
        error[:, at : at + width] = share * weights[:, None]
        at += width
    width = targets.binary.shape[1]
    chance = 1 / (1 + np.exp(-scores[:, at : at + width]))
    error[:, at : at + width] = (chance - targets.binary) * targets.binary_weights
    at += width
    error[:, at:] = settings.value_share * (scores[:, at:] - targets.values) * targets.value_weights
    error /= np.float32(len(x))
    back = (error @ outer.T) * mask
    return [x.T @ back, back.sum(axis=0), hidden.T @ error, x.T @ error, error.sum(axis=0)]
