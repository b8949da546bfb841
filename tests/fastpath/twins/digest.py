"""The digest of a decision: a canonical encoding of all that it depended on, hashed by hashlib's BLAKE2b."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fastpath.twins.state import Live

ROLES = {"user": 1, "assistant": 2, "system": 3, "developer": 4, "tool": 5}
DEPLOYMENT_WORDS = 4


@dataclass(frozen=True)
class DigestInput:
    """The fields of a request as the digest reads them; `needs` are the NEED_ bits."""

    messages: Sequence[tuple[str, bytes]]
    tenant: str = ""
    user_tier: str = ""
    feature: str = ""
    session_id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    policy: str = ""
    min_tier: str = ""
    max_tier: str = ""
    allowed_deployments: Sequence[str] = ()
    allowed_regions: Sequence[str] = ()
    max_cost_usd: float | None = None
    quality_bar: float | None = None
    needs: int = 0
    n_tools: int = 0
    tool_schema_bytes: int = 0
    media_bytes: int = 0
    expected_output_tokens: int = 0
    context_tokens: int = 0
    answer_use: int = 0
    rules_only: bool = False


def _number(value: int) -> bytes:
    return struct.pack("<q", value)


def _float(value: float | None) -> bytes:
    return struct.pack("<d", math.nan if value is None else value)


def _text(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return _number(len(data)) + data


def _texts(values: Sequence[str]) -> bytes:
    return _number(len(values)) + b"".join(map(_text, values))


def _closed(indices: Iterable[int]) -> bytes:
    words = [0] * DEPLOYMENT_WORDS
    for index in indices:
        words[index // 64] |= 1 << index % 64
    return struct.pack(f"<{DEPLOYMENT_WORDS}Q", *words)


def digest(
    request: DigestInput, live: Live, deployments: Sequence[str], revisions: bytes, decision_id: bytes | None
) -> str:
    """Hexadecimal BLAKE2b-128; `decision_id` is given only where the decision depended on it.

    `revisions` are those of policy, bundle and features, 8 bytes each.
    """
    parts = [revisions, _number(len(request.messages))]
    for role, text in request.messages:
        parts += [_number(ROLES[role]), _text(text)]
    parts += [
        _text(request.tenant),
        _text(request.user_tier),
        _text(request.feature),
        _text(request.session_id),
    ]
    parts.append(_number(len(request.labels)))
    for key in sorted(request.labels):
        parts += [_text(key), _text(request.labels[key])]
    parts += [_text(request.policy), _text(request.min_tier), _text(request.max_tier)]
    parts += [_texts(request.allowed_deployments), _texts(request.allowed_regions)]
    parts += [_float(request.max_cost_usd), _float(request.quality_bar)]
    parts += map(
        _number,
        (
            request.needs,
            request.n_tools,
            request.tool_schema_bytes,
            request.media_bytes,
            request.expected_output_tokens,
            request.context_tokens,
            request.answer_use,
            int(request.rules_only),
        ),
    )
    warm_at = -1 if live.session_deployment is None else deployments.index(live.session_deployment)
    parts.append(_closed(deployments.index(name) for name in live.closed if name in deployments))
    parts += map(
        _number,
        (
            -1 if live.session_tier is None else live.session_tier,
            warm_at,
            live.warm_tokens,
            int(live.budget_spent),
            int(decision_id is not None),
        ),
    )
    if decision_id is not None:
        parts.append(decision_id)
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
