"""Which decisions are judged, shadowed or answered by an ensemble: drawn by their ids, so that all processes agree."""

from __future__ import annotations

import hashlib

from turnout_server.completion.attempt import Purpose


def is_drawn(decision_id: str, purpose: Purpose, share: float) -> bool:
    """True for a share of all decisions, 0 to 1; draws for different purposes are independent.

    The share is the propensity that is stored with whatever comes of the draw.
    """
    if share >= 1:
        return True
    name = f"{purpose} {decision_id}".encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(name, digest_size=7).digest()) < share * 2**56
