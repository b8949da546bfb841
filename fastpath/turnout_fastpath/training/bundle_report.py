"""What a trained bundle says of itself: results by head, and the manifest's facts."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from turnout_fastpath.training.calibrating import HeadCalibration, Reliability, reliability
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.linear_fits import Reals, log_losses
from turnout_fastpath.training.outputs import Outputs
from turnout_fastpath.training.tiers import TierLabels

Floats = npt.NDArray[np.float32]

TINY = 1e-7


@dataclass(frozen=True)
class HeadResult:
    """What was learned of one tier; every figure is cross-validated by group.

    Attributes:
        name: of the head.
        rows: labelled.
        sufficient: share of them whose tier suffices.
        gain: mean gain of the top tier.
        logit_fit, gain_fit: how the outputs were fitted.
        log_loss, gain_rmse: of p_sufficient and gain.
        log_loss_before, gain_rmse_before: of the bundle that was started from; NaN if there was none.
        calibration: method, and held-out log loss of each.
        reliability: of p_sufficient.
    """

    name: str
    rows: int
    sufficient: float
    gain: float
    logit_fit: str
    gain_fit: str
    log_loss: float
    log_loss_before: float
    gain_rmse: float
    gain_rmse_before: float
    calibration: HeadCalibration
    reliability: Reliability

    def figures(self) -> dict[str, Any]:
        """For JSON; what is not known is null."""
        numbers = {
            "log_loss": self.log_loss,
            "log_loss_before": self.log_loss_before,
            "gain_rmse": self.gain_rmse,
            "gain_rmse_before": self.gain_rmse_before,
            "ece": self.reliability.ece,
            "ece_bound": self.reliability.bound,
            "sufficient": self.sufficient,
            "gain": self.gain,
        }
        return {
            "name": self.name,
            "rows": self.rows,
            "logit_fit": self.logit_fit,
            "gain_fit": self.gain_fit,
            "calibration": self.calibration.method.value,
            "calibration_log_loss": self.calibration.losses,
        } | {name: None if np.isnan(value) else round(value, 5) for name, value in numbers.items()}


@dataclass(frozen=True)
class TrainResult:
    """A trained bundle: where it is, its manifest, its heads, and how exactly trainer, model and engine agree."""

    path: Path
    manifest: dict[str, Any]
    heads: tuple[HeadResult, ...]
    agreement: float


@dataclass(frozen=True, eq=False)
class Before:
    """What the bundle that is started from says of the rows: (n,) probabilities and gains by head."""

    p: Sequence[Reals]
    gains: Sequence[Reals]


def head_results(
    labels: TierLabels,
    scores: Floats,
    calibrations: Sequence[HeadCalibration],
    outputs: Outputs,
    fits: Sequence[tuple[str, str]],
    before: Before | None = None,
) -> tuple[HeadResult, ...]:
    """Results of every head.

    Args:
        labels: of n rows.
        scores: (n, scores) cross-validated.
        calibrations, fits: by head.
        outputs: layout of the scores.
        before: of the bundle that was started from.
    """
    results = []
    for i, name in enumerate(labels.heads):
        known = ~np.isnan(labels.suffices[:, i])
        share, gain = labels.suffices[known, i], labels.gains[known, i]
        calibration = calibrations[i]
        results.append(
            HeadResult(
                name=name,
                rows=int(known.sum()),
                sufficient=float(share.mean()),
                gain=float(gain.mean()),
                logit_fit=fits[i][0],
                gain_fit=fits[i][1],
                log_loss=_log_loss(calibration.held_out[known], share),
                log_loss_before=float("nan") if before is None else _log_loss(before.p[i][known], share),
                gain_rmse=_rmse(scores[known, outputs.gains.start + i], gain),
                gain_rmse_before=float("nan") if before is None else _rmse(before.gains[i][known], gain),
                calibration=calibration,
                reliability=reliability(calibration.held_out[known], share),
            )
        )
    return tuple(results)


def manifest_heads(
    labels: TierLabels, calibrations: Sequence[HeadCalibration], tasks: Sequence[str]
) -> list[dict[str, Any]]:
    """The manifest's `heads`: each tier below the top with the models that speak for it and for the top."""
    return [
        {
            "name": tier.name,
            "reference_models": list(tier.models),
            "top_models": list(labels.tiers[-1].models),
            "calibration": calibration.entry(tasks),
        }
        for tier, calibration in zip(labels.tiers[:-1], calibrations, strict=True)
    ]


def training_facts(data: LabelledData, labels: TierLabels) -> dict[str, Any]:
    """The manifest's `training`."""
    return {
        "data": data.path.name,
        "data_sha256": data.sha256,
        "rows": len(data),
        "groups": len(set(data.groups.tolist())),
        "sources": sorted(set(data.sources.tolist()) - {""}),
        "top_tier": labels.tiers[-1].name,
        "date": datetime.date.today().isoformat(),
    }


def _log_loss(p: Reals, labels: Reals) -> float:
    clipped = np.clip(p.astype(np.float64), TINY, 1 - TINY)
    return float(log_losses(np.log(clipped / (1 - clipped)), labels).mean())


def _rmse(values: npt.NDArray[np.floating], labels: Reals) -> float:
    return float(np.sqrt(np.mean((np.clip(values, -1, 1) - labels) ** 2)))
