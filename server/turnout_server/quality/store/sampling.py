"""Which decisions are kept: drawn by the decision's id, so that all processes draw alike."""

from __future__ import annotations

import hashlib

_ID_DIGITS = 32
_BITS = 63


def is_drawn(decision_id: str, share: float) -> bool:
    """Whether a decision is among a share, 0 to 1, of all.

    The engine's ids are 32 hexadecimal digits, of which the last 16 are random; `decider.pyx` draws by the same bits.
    """
    if share >= 1:
        return True
    if share <= 0:
        return False
    bits = None
    if len(decision_id) == _ID_DIGITS:
        try:
            bits = int.from_bytes(bytes.fromhex(decision_id)[8:], "little")
        except ValueError:
            bits = None
    if bits is None:
        digest = hashlib.blake2b(decision_id.encode("utf-8", "replace"), digest_size=8).digest()
        bits = int.from_bytes(digest, "little")
    return bits >> 1 < round(share * 2.0**_BITS)
