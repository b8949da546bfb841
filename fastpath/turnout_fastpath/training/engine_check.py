"""Does the compiled engine say what the trainer says?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from turnout_fastpath.bundle import Bundle
from turnout_fastpath.training.bundle_scores import probe_engine
from turnout_fastpath.training.calibrating import apply_curves
from turnout_fastpath.training.curves import Curve
from turnout_fastpath.training.labelled_data import LabelledData
from turnout_fastpath.training.learning import check_agreement
from turnout_fastpath.training.outputs import Outputs

Floats = npt.NDArray[np.float32]

CHECKED_ROWS = 256


def curves_of(bundle: Bundle, head: int) -> tuple[Curve, ...]:
    """A head's calibration curves, one a task."""
    calibration = bundle.manifest["heads"][head]["calibration"]
    return tuple(Curve.of(calibration["tasks"].get(task, calibration["default"])) for task in bundle.tasks)


def check_engine(
    bundle: Bundle, data: LabelledData, scores: Floats, curves: Sequence[Sequence[Curve]]
) -> float:
    """Decides rows and compares p_sufficient and gain with the trainer's scores and curves.

    Args:
        bundle: loaded.
        data: n rows; up to CHECKED_ROWS of those with text are decided.
        scores: (n, scores) by the trainer's arithmetic.
        curves: by head, one a task.

    Returns:
        The greatest gap; 0 if no row has text.

    Raises:
        AssertionError: a gap above `learning.AGREEMENT`.
    """
    outputs = Outputs(len(bundle.tasks), len(bundle.heads))
    rows = [i for i in range(len(data)) if data.request(i) is not None]
    rows = rows[:: max(1, len(rows) // CHECKED_ROWS)]
    if not rows:
        return 0.0
    engine = probe_engine(bundle)
    tasks = scores[:, outputs.tasks].argmax(axis=1)[rows]
    found, expected = [], []
    for i in rows:
        request = data.request(i)
        assert request is not None
        found.append(
            [
                value
                for one in engine.decide(request).candidates[:-1]
                for value in (one.p_sufficient, one.gain)
            ]
        )
    for head in range(outputs.n_heads):
        logits = scores[rows, outputs.logits.start + head].astype(np.float64)
        expected.append(apply_curves(curves[head], logits, tasks))
        expected.append(np.clip(scores[rows, outputs.gains.start + head], -1, 1))
    ours = np.stack(expected, axis=1).astype(np.float32)
    return check_agreement(ours, np.array(found, np.float32), "the compiled engine")
