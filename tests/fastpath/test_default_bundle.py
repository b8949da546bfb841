"""The bundle and the policy that ship keep the promises that are made for them.

The rows measured on are those of the everyday corpus that no training, calibration or bar has seen.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from turnout_fastpath import Engine, Status
from turnout_fastpath.training import everyday_report
from turnout_fastpath.training.everyday_rows import TASKS, TIERS, load_everyday


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load()


@pytest.fixture(scope="module")
def figures(engine: Engine) -> dict[str, Any]:
    return everyday_report.report(engine)


def test_small_prompts_go_to_the_small_tier(figures: dict[str, Any]) -> None:
    assert figures["all"]["small_to_small"] >= 0.90


def test_few_frontier_prompts_go_below_frontier(figures: dict[str, Any]) -> None:
    assert figures["all"]["frontier_below_by_single"] <= 0.10


def test_the_ladder_of_the_trade_holds(figures: dict[str, Any]) -> None:
    assert figures["ladder_holds"], figures["ladder"]


def test_abstains_seldom_on_english_and_nearly_always_on_gibberish(figures: dict[str, Any]) -> None:
    assert figures["english"]["abstained"] <= 0.15
    assert figures["gibberish_abstained"] >= 0.90


def test_a_long_system_prompt_changes_nothing_that_is_learned(engine: Engine) -> None:
    system = "You are the concierge of a hotel group. Answer from the house rules. " * 330
    for question in everyday_report.LADDER:
        alone = engine.route(question)
        behind = engine.route(messages=[("system", system), ("user", question)])
        assert (behind.tier, behind.task, behind.status) == (alone.tier, alone.task, alone.status)
        assert [c.p_sufficient for c in behind.candidates] == [c.p_sufficient for c in alone.candidates]


def test_a_book_is_answered_with_its_size_told(engine: Engine) -> None:
    decision = engine.route("It was the best of times, it was the worst of times. " * 19_000)
    assert decision.truncated
    assert decision.tokens_read <= 384
    assert 200_000 < decision.tokens_total < 300_000
    assert decision.status in Status


def test_the_corpus_is_what_its_guide_says() -> None:
    rows = load_everyday()
    apart = [row for row in rows if row.set_apart]
    assert len(rows) >= 7000
    assert 0.28 < len(apart) / len(rows) < 0.38
    assert not {row.group for row in apart} & {row.group for row in rows if not row.set_apart}
    assert {row.task for row in rows} == set(TASKS)
    assert {row.tier for row in rows} == set(TIERS)
    assert sum(row.lang != "en" for row in rows) >= 2900
    tiers_by_lang: dict[str, set[str]] = {}
    for row in rows:
        tiers_by_lang.setdefault(row.lang, set()).add(row.tier)
    assert len(tiers_by_lang) >= 18
    assert all(tiers == set(TIERS) for tiers in tiers_by_lang.values())
    prompts = Counter(row.messages for row in rows)
    assert not [messages for messages, count in prompts.items() if count > 1]
