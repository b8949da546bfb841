"""Who asks, as LiteLLM's proxy carries it with a request. Needs no LiteLLM: its objects are read by their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from grpc import StatusCode

from turnout.errors import ErrorReason, InvalidRequestError

# turnout/v1/routing.proto, CallerContext.
MAX_TENANT_BYTES = 256
MAX_SESSION_BYTES = 256
TENANT_KEY = "turnout_tenant"


class TenantSource(StrEnum):
    """Where LiteLLM may carry a tenant; the values are attributes of its `UserAPIKeyAuth`."""

    ORGANIZATION = "org_id"
    TEAM_ALIAS = "team_alias"
    TEAM = "team_id"
    TEAM_METADATA = "team_metadata"
    """`turnout_tenant` in the team's metadata."""
    KEY_ALIAS = "key_alias"
    KEY_METADATA = "metadata"
    """`turnout_tenant` in the key's metadata."""
    USER = "user_id"
    END_USER = "end_user_id"
    """What the caller itself names in `user`."""


# Callers choose neither of these.
DEFAULT_SOURCES = (TenantSource.TEAM_ALIAS, TenantSource.TEAM)


def tenant_of(key: object, sources: Sequence[TenantSource]) -> str:
    """The tenant in the first source that has one; empty if none has.

    Args:
        key: LiteLLM's `UserAPIKeyAuth`.
        sources: where to look, in order.

    Raises:
        InvalidRequestError: it is longer than the contract allows. Cut off, it might be another's; left out, it would be
            nobody's, and bound by no budget or rule.
    """
    for source in sources:
        value = getattr(key, source, None)
        if source in (TenantSource.TEAM_METADATA, TenantSource.KEY_METADATA):
            value = value.get(TENANT_KEY) if isinstance(value, Mapping) else None
        if isinstance(value, str) and value:
            return _checked(value, source)
    return ""


def _checked(tenant: str, source: TenantSource) -> str:
    count = len(tenant.encode("utf-8", "replace"))
    if count <= MAX_TENANT_BYTES:
        return tenant
    size, limit = f"{count} bytes", f"{MAX_TENANT_BYTES} bytes"
    raise InvalidRequestError(
        f"caller.tenant: {size} from LiteLLM's {source.name} ({source}) breaks the limit: {limit}",
        code=StatusCode.INVALID_ARGUMENT,
        reason=ErrorReason.INVALID_FIELD,
        metadata={"field": "caller.tenant", "value": size, "limit": limit},
    )


def session_of(data: Mapping[str, object]) -> str:
    """The session that LiteLLM read from the request's headers or metadata; empty if none, or too long for the contract.

    Args:
        data: the request, as LiteLLM's hooks get it.
    """
    found = [data.get("litellm_session_id")]
    for key in ("litellm_metadata", "metadata"):
        metadata = data.get(key)
        if isinstance(metadata, Mapping):
            found.append(metadata.get("session_id"))
    session = next((one for one in found if isinstance(one, str) and one), "")
    return session if len(session.encode("utf-8", "replace")) <= MAX_SESSION_BYTES else ""
