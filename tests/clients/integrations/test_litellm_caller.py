"""Where LiteLLM's requests say who asks. Its own proxy is asked in test_litellm_hook.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from turnout import ErrorReason, InvalidRequestError
from turnout.integrations.litellm_caller import (
    DEFAULT_SOURCES,
    MAX_SESSION_BYTES,
    MAX_TENANT_BYTES,
    TenantSource,
    session_of,
    tenant_of,
)

KEY: dict[str, Any] = {
    "org_id": "o",
    "team_alias": "acme",
    "team_id": "t-1",
    "team_metadata": {"turnout_tenant": "acme-eu"},
    "key_alias": "laptop",
    "metadata": {"turnout_tenant": "lab"},
    "user_id": "u",
    "end_user_id": "e",
}


@pytest.mark.parametrize(
    ("source", "tenant"),
    list(zip(TenantSource, ["o", "acme", "t-1", "acme-eu", "laptop", "lab", "u", "e"], strict=True)),
)
def test_each_source_is_read(source: TenantSource, tenant: str) -> None:
    assert tenant_of(SimpleNamespace(**KEY), [source]) == tenant


@pytest.mark.parametrize(
    ("changes", "tenant"),
    [
        ({}, "acme"),
        ({"team_alias": None}, "t-1"),
        ({"team_alias": "", "team_id": "t-2"}, "t-2"),
        ({"team_alias": None, "team_id": None}, ""),
    ],
)
def test_the_first_that_is_there_counts(changes: dict[str, Any], tenant: str) -> None:
    assert tenant_of(SimpleNamespace(**(KEY | changes)), DEFAULT_SOURCES) == tenant


@pytest.mark.parametrize("metadata", [None, {}, {"turnout_tenant": 7}, "text"])
def test_metadata_without_a_tenant_names_none(metadata: object) -> None:
    key = SimpleNamespace(**(KEY | {"metadata": metadata}))
    assert tenant_of(key, [TenantSource.KEY_METADATA]) == ""
    assert tenant_of(object(), list(TenantSource)) == ""


@pytest.mark.parametrize("letter", ["x", "\u00e9"])
def test_a_tenant_beyond_the_contract_is_refused_by_its_name(letter: str) -> None:
    """The next source is not asked: who is too long for one tenant is not another."""
    most = letter * (MAX_TENANT_BYTES // len(letter.encode()))
    assert tenant_of(SimpleNamespace(**(KEY | {"team_alias": most})), DEFAULT_SOURCES) == most
    with pytest.raises(InvalidRequestError, match=r"TEAM_ALIAS \(team_alias\).* 256 bytes") as refused:
        tenant_of(SimpleNamespace(**(KEY | {"team_alias": most + "x"})), DEFAULT_SOURCES)
    error = refused.value
    assert error.reason == ErrorReason.INVALID_FIELD
    assert (error.field, error.value, error.limit) == ("caller.tenant", "257 bytes", "256 bytes")


@pytest.mark.parametrize(
    ("data", "session"),
    [
        ({}, ""),
        ({"litellm_session_id": "a", "metadata": {"session_id": "b"}}, "a"),
        ({"metadata": {"session_id": "b"}}, "b"),
        ({"litellm_metadata": {"session_id": "c"}, "metadata": {"session_id": "b"}}, "c"),
        ({"metadata": None}, ""),
        ({"litellm_session_id": 7, "metadata": {"session_id": ""}}, ""),
        ({"litellm_session_id": "\u00e9" * (MAX_SESSION_BYTES // 2)}, "\u00e9" * (MAX_SESSION_BYTES // 2)),
        ({"litellm_session_id": "x" * (MAX_SESSION_BYTES + 1)}, ""),
    ],
)
def test_the_session(data: dict[str, Any], session: str) -> None:
    assert session_of(data) == session
