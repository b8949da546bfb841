"""Amounts, and what a resolved document says of budgets and limits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from turnout_server import budget_model
from turnout_server.completion.stated_limits import (
    BudgetBook,
    RetryRule,
    WorkerPlace,
    limits_of,
    retry_rules_of,
)
from turnout_server.policy_file import PolicyFileError, load_policy_file, parse_policy, resolve
from turnout_server.resilience import budgets, rates
from turnout_server.resilience.budgets import Budget, Scope, ScopeKind
from turnout_server.resilience.limits import Limit

EXAMPLE = Path(__file__).parents[2] / "docs/policies/budgets.yaml"
NANO = st.integers(0, 18_000_000 * 10**9)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return resolve(load_policy_file(EXAMPLE))


def resolved(document: dict[str, Any], **budgets: Any) -> dict[str, Any]:
    text = yaml.safe_dump(document | {"budgets": budgets})
    return resolve(parse_policy(text, "budgets"))


def test_every_nano_dollar_is_kept_however_it_is_written(document: dict[str, Any]) -> None:
    @given(nano=NANO, zeros=st.integers(0, 3))
    def check(nano: int, zeros: int) -> None:
        exact = format(Decimal(nano).scaleb(-9), "f")
        text = exact + "0" * zeros if "." in exact else exact
        found = budget_model.Budget.model_validate({"day_usd": text})
        dumped = json.loads(found.model_dump_json())
        book = BudgetBook.of({"budgets": {"other_tenants": dumped}})
        assert book.other_tenants == Budget(day_nano_usd=nano)
        # Equal amounts are equal documents, and a resolved one is read as it stands.
        assert budget_model.Budget.model_validate(dumped) == found
        assert budget_model.Budget.model_validate({"day_usd": exact}) == found

    check()


@pytest.mark.parametrize(
    ("written", "nano"),
    [
        ("50", 50 * 10**9),
        ("0.1", 10**8),
        ("1.0e-9", 1),
        ("'0.30'", 3 * 10**8),
        ("0", 0),
        ("18000000", 18 * 10**15),
    ],
)
def test_numbers_are_read_by_their_shortest_form(document: dict[str, Any], written: str, nano: int) -> None:
    found = resolved(document, other_tenants={"month_usd": yaml.safe_load(written)})
    assert BudgetBook.of(found).other_tenants == Budget(month_nano_usd=nano)


@pytest.mark.parametrize("wrong", ["1e3", "-1", "+1", "1.", ".5", "1_000", "", " 1", "٣", "1" * 5000])
def test_text_that_is_no_amount_is_refused(document: dict[str, Any], wrong: str) -> None:
    with pytest.raises(PolicyFileError, match=r"budgets\.other_tenants\.day_usd: .* is not an amount"):
        resolved(document, other_tenants={"day_usd": wrong})


def test_the_book_of_the_example(document: dict[str, Any]) -> None:
    book = BudgetBook.of(document)
    acme = Scope(ScopeKind.TENANT, "acme")
    assert book.get(acme) == Budget(40 * 10**9, 800 * 10**9, 400_000, 600)
    assert book.get(Scope(ScopeKind.TENANT, "staff")) == Budget()
    for name in ("somebody", ""):
        other = Scope(ScopeKind.TENANT, name)
        assert book.get(other) == Budget(day_nano_usd=5 * 10**8, requests_minute=20)
        assert book.name_of(other) == ""
    assert book.name_of(acme) == "acme"
    assert book.get(Scope(ScopeKind.POLICY, "assistant")) == Budget(month_nano_usd=5000 * 10**9)
    assert book.get(Scope(ScopeKind.POLICY, "acme")) is None
    assert book.limits_spend
    assert not BudgetBook.of(resolved(document, other_tenants={"tokens_per_minute": 1})).limits_spend


def test_the_limits_of_the_example_are_shared_out(document: dict[str, Any]) -> None:
    found = [limits_of(document, WorkerPlace(index, 3)) for index in range(3)]
    assert [one["account OPENAI_API_KEY"] for one in found] == [
        Limit(67, 4500, 1_800_000),
        Limit(67, 4500, 1_800_000),
        Limit(66, 4500, 1_800_000),
    ]
    assert [one["deployment llama-house"].in_flight for one in found] == [6, 5, 5]
    assert retry_rules_of(document) == {"OPENAI_API_KEY": RetryRule(0.1, 3)}


def test_a_document_from_before_there_were_budgets_has_none() -> None:
    assert BudgetBook.of({}) == BudgetBook()
    assert (limits_of({}, WorkerPlace()), retry_rules_of({})) == ({}, {})


def test_limits_are_those_of_the_state_block() -> None:
    assert budget_model.MAX_USD * 10**9 <= budgets.MOST_NANO_USD
    assert budget_model.MAX_PER_MINUTE == rates.MOST_A_MINUTE


def test_more_limits_than_the_block_has_room_for_are_refused(document: dict[str, Any]) -> None:
    tenants = {f"t{i}": {"tokens_per_minute": 1, "requests_per_minute": 1} for i in range(4001)}
    with pytest.raises(PolicyFileError, match="budgets: 8002 limits of tenants and policies, limit: 8000"):
        resolved(document, tenants=tenants)
