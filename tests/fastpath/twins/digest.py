"""The digest of a decision: a canonical encoding of all that it depended on, hashed by hashlib's BLAKE2b."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fastpath.twins.state import Live

ROLES = {"user": 1, "assistant": 2, "system": 3, "developer": 4, "tool": 5}
DEPLOYMENT_WORDS = 4
BLOCK, STRANDS = 128, 4
GROUP = STRANDS * BLOCK


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


def _float(value: float) -> bytes:
    return struct.pack("<d", value)


def _text(value: str | bytes) -> bytes:
    data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return _number(len(data)) + data


def _texts(values: Sequence[str]) -> bytes:
    return _number(len(values)) + b"".join(map(_text, values))


def strands(data: bytes) -> bytes:
    """Four digests, end to end: the k-th of the blocks k, k + 4, k + 8 and so on."""
    blocks = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    return b"".join(
        hashlib.blake2b(b"".join(blocks[k::STRANDS]), digest_size=16).digest() for k in range(STRANDS)
    )


def _long_text(text: bytes) -> bytes:
    """A text as it is, or its whole groups of blocks as digests if it has two of them."""
    whole = len(text) // GROUP * GROUP
    return text if len(text) < 2 * GROUP else strands(text[:whole]) + text[whole:]


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
    asked = request
    labels = [_text(part) for key in sorted(asked.labels) for part in (key, asked.labels[key])]
    closed = [deployments.index(name) for name in live.closed if name in deployments]
    warm = live.session_deployment
    # By bit: what each field adds if it is not as it is by default.
    fields = [
        asked.tenant and _text(asked.tenant),
        asked.user_tier and _text(asked.user_tier),
        asked.feature and _text(asked.feature),
        asked.session_id and _text(asked.session_id),
        labels and _number(len(asked.labels)) + b"".join(labels),
        asked.policy and _text(asked.policy),
        asked.min_tier and _text(asked.min_tier),
        asked.max_tier and _text(asked.max_tier),
        asked.allowed_deployments and _texts(asked.allowed_deployments),
        asked.allowed_regions and _texts(asked.allowed_regions),
        None if asked.max_cost_usd is None else _float(asked.max_cost_usd),
        None if asked.quality_bar is None else _float(asked.quality_bar),
        asked.needs and _number(asked.needs),
        asked.n_tools and _number(asked.n_tools),
        asked.tool_schema_bytes and _number(asked.tool_schema_bytes),
        asked.media_bytes and _number(asked.media_bytes),
        asked.expected_output_tokens and _number(asked.expected_output_tokens),
        asked.context_tokens and _number(asked.context_tokens),
        asked.answer_use and _number(asked.answer_use),
        asked.rules_only and _number(1),
        closed and _closed(closed),
        None if live.session_tier is None else _number(live.session_tier),
        None if warm is None else _number(deployments.index(warm)),
        live.warm_tokens and _number(live.warm_tokens),
        live.budget_spent and _number(1),
        decision_id,
    ]
    head = sum(1 << bit for bit, added in enumerate(fields) if added) | len(asked.messages) << 32
    parts = [_number(ROLES[role] << 56 | len(text)) + _long_text(text) for role, text in asked.messages]
    parts += [added for added in fields if isinstance(added, bytes) and added]
    person = revisions[16:] + struct.pack("<Q", head)
    return hashlib.blake2b(b"".join(parts), digest_size=16, salt=revisions[:16], person=person).hexdigest()
