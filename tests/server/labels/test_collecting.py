"""Collecting on a scripted asker: what is paid, what is graded, what a later run finds."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.labels.collector import HOPELESS, CollectError, Collector, Tally
from turnout_server.labels.criteria import Usual
from turnout_server.labels.journal import CollectJournal, JournalError, StoredAnswer, StoredGrade
from turnout_server.labels.judge import mark_request
from turnout_server.labels.label_file import label_rows, write_rows
from turnout_server.labels.prompt_rows import PromptRow, read_prompts
from turnout_server.labels.sandbox import SandboxLimits
from turnout_server.labels.spend import Spend, SpendLimitError

from tests.server.labels.scripted_asker import ScriptedAsker

TIERS = ("small", "frontier")
HEAD = {"tiers": {"small": [["s"]], "frontier": [["f"]]}, "temperature": None}


def prompts(tmp_path: Path, rows: list[dict[str, Any]]) -> list[PromptRow]:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    return read_prompts(path, Usual(), max_output_tokens=9, temperature=None)


async def collect(
    asker: ScriptedAsker,
    journal: CollectJournal,
    rows: list[PromptRow],
    limit_nano: int | None = None,
    concurrency: int = 4,
) -> tuple[Tally, Spend]:
    spend = Spend(limit_nano, journal.progress.spent_nano + journal.progress.lost_nano)
    plans = {(row.digest, tier): asker.plan(row.chat, row.told, tier) for row in rows for tier in TIERS}
    collector = Collector(
        asker,
        journal,
        spend,
        TIERS,
        "frontier",
        concurrency=concurrency,
        tests_at_once=2,
        sandbox=SandboxLimits(),
        advance=lambda _: None,
    )
    return await collector.run(rows, plans), spend


def say_one_or_two(tier: str, question: str) -> str:
    return "1" if tier == "frontier" or question < "q5" else "2"


async def test_each_request_is_asked_once_of_each_tier(tmp_path: Path) -> None:
    # Twice the same request, under two graders.
    rows = prompts(
        tmp_path,
        [{"prompt": f"q{i}", "expected": "1"} for i in range(9)] + [{"prompt": "q8", "pattern": "[12]"}],
    )
    asker = ScriptedAsker(say_one_or_two)
    journal = CollectJournal(tmp_path / "journal")
    tally, spend = await collect(asker, journal, rows)
    assert asker.asked == {(tier, f"q{i}"): 1 for tier in TIERS for i in range(9)}
    assert asker.at_once <= 4
    assert (tally.asked, tally.known, tally.graded) == (18, 2, 20)
    assert spend.spent_nano == 18 * 60
    found = list(label_rows(rows, TIERS, journal.progress))
    assert [row["scores"]["small"] for row in found] == [1.0] * 5 + [0.0] * 4 + [1.0]
    assert all(row["scores"]["frontier"] == 1.0 and row["costs"]["small"] == 6e-8 for row in found)
    journal.close()
    again = CollectJournal(tmp_path / "journal")
    tally, spend = await collect(asker, again, rows)
    assert (tally.asked, tally.known, tally.graded, spend.spent_nano) == (0, 20, 0, 18 * 60)
    assert list(label_rows(rows, TIERS, again.progress)) == found
    again.close()


@pytest.mark.parametrize("limit_nano", [0, 99, 100, 350, 1000, 5000])
async def test_the_budget_holds_and_more_of_it_goes_on(tmp_path: Path, limit_nano: int) -> None:
    rows = prompts(tmp_path, [{"prompt": f"q{i}", "expected": "1"} for i in range(20)])
    asker = ScriptedAsker(say_one_or_two)
    journal = CollectJournal(tmp_path / "journal")
    tally, spend = await collect(asker, journal, rows, limit_nano)
    assert spend.spent_nano <= limit_nano
    # Nothing that fitted was left out.
    assert tally.out_of_money is (limit_nano < 40 * 60 + 40)
    if tally.out_of_money:
        assert spend.spent_nano + 100 > limit_nano
    tally, spend = await collect(asker, journal, rows, None)
    assert max(asker.asked.values()) == 1 and len(asker.asked) == 40
    journal.close()


async def test_what_has_no_answer_is_told_and_asked_again_later(tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"prompt": f"q{i}", "expected": "1"} for i in range(6)])
    journal = CollectJournal(tmp_path / "journal")
    silent = ScriptedAsker(lambda tier, question: None if question == "q3" else "1")
    tally, _ = await collect(silent, journal, rows)
    assert tally.unanswered == {("small", "server_error"): 1, ("frontier", "server_error"): 1}
    assert len(list(label_rows(rows, TIERS, journal.progress))) == 5
    tally, _ = await collect(ScriptedAsker(say_one_or_two), journal, rows)
    assert tally.asked == 2 and not tally.unanswered
    journal.close()


async def test_a_tier_that_never_answers_ends_the_run(tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"prompt": f"q{i}", "expected": "1"} for i in range(HOPELESS * 3)])
    journal = CollectJournal(tmp_path / "journal")
    asker = ScriptedAsker(lambda tier, _: None if tier == "small" else "1")
    with pytest.raises(CollectError, match="tier small: 20 requests in a row without an answer"):
        await collect(asker, journal, rows, concurrency=1)
    assert sum(count for (tier, _), count in asker.asked.items() if tier == "small") == HOPELESS
    journal.close()


def judged(question: str) -> dict[str, Any] | None:
    """What a judge is shown; None: it is no judge that is asked."""
    lines = question.splitlines()
    if len(lines) != 3 or lines[0] != lines[2]:
        return None
    shown: dict[str, Any] = orjson.loads(lines[1])
    return shown


async def test_a_pair_is_judged_in_both_orders(tmp_path: Path) -> None:
    rows = prompts(tmp_path, [{"prompt": f"q{i}", "grader": "pairwise"} for i in range(3)])

    def say(tier: str, question: str) -> str:
        shown = judged(question)
        if shown is None:
            return f"{tier} on {question}"
        asked = shown["conversation"][-1]["text"]
        if asked == "q0":
            # A judge that likes whatever comes first.
            return '{"better": "first"}'
        first_is_small = shown["first"]["text"].startswith("small")
        return '{"better": "%s"}' % ("first" if first_is_small == (asked == "q1") else "second")

    journal = CollectJournal(tmp_path / "journal")
    await collect(ScriptedAsker(say), journal, rows)
    scores = [row["scores"] for row in label_rows(rows, TIERS, journal.progress)]
    assert scores == [{"small": score, "frontier": 0.5} for score in (0.5, 1.0, 0.0)]
    journal.close()


async def test_a_rubric_judge_gives_marks_and_one_that_cannot_is_told(tmp_path: Path) -> None:
    rubric, seen = "Is it short?", []
    rows = prompts(tmp_path, [{"prompt": f"q{i}", "rubric": rubric, "reference": "known"} for i in range(2)])

    def say(tier: str, question: str) -> str:
        shown = judged(question)
        if shown is None:
            return '{"fault": "none", "mark": 5}'
        seen.append(shown)
        return '{"fault": "none", "mark": 4}' if shown["conversation"][-1]["text"] == "q0" else "no idea"

    journal = CollectJournal(tmp_path / "journal")
    tally, _ = await collect(ScriptedAsker(say), journal, rows)
    (labels,) = label_rows(rows, TIERS, journal.progress)
    assert labels["scores"] == {"small": 0.75, "frontier": 0.75}
    assert tally.ungraded == {"the judge gave no verdict": 2}
    assert all(shown["answer"]["text"] == '{"fault": "none", "mark": 5}' for shown in seen)
    request = mark_request(rows[0].chat, "x", rows[0].criterion)
    assert rubric in request.messages[0].text and "known to be good:\nknown" in request.messages[0].text
    journal.close()


async def test_code_is_graded_by_its_tests(tmp_path: Path) -> None:
    tests = ["assert f(2) == 4", "assert f(3) == 9"]
    rows = prompts(tmp_path, [{"prompt": "Write f.", "tests": tests}])
    code = {"small": "def f(x): return x * 2", "frontier": "```python\ndef f(x):\n    return x ** 2\n```"}
    journal = CollectJournal(tmp_path / "journal")
    await collect(ScriptedAsker(lambda tier, _: code[tier]), journal, rows)
    (labels,) = label_rows(rows, TIERS, journal.progress)
    assert labels["scores"] == {"small": 0.5, "frontier": 1.0}
    journal.close()


def test_a_journal_that_was_cut_off_anywhere_keeps_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = CollectJournal(path)
    journal.begin(HEAD)
    for i in range(3):
        call = journal.note_call(100)
        journal.note_answer(call, (f"d{i}", "small"), StoredAnswer("text\n", 5), 7)
        journal.note_grade((f"d{i}", "small"), "c", StoredGrade(0.5))
    journal.note_call(100)
    journal.close()
    whole = path.read_bytes()
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        cut = CollectJournal(path)
        lines = whole[:size].count(b"\n")
        assert cut.progress.spent_nano == 7 * len(cut.progress.answers)
        assert len(cut.progress.answers) == sum(lines > 2 + 3 * i for i in range(3))
        assert cut.progress.lost_nano in (0, 100)
        cut.begin(HEAD)
        cut.close()
        assert path.read_bytes().endswith(b"\n")
        CollectJournal(path).close()


def test_a_journal_is_held_by_one_and_gone_on_with_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = CollectJournal(path)
    journal.begin(HEAD)
    with pytest.raises(JournalError, match="another process is collecting"):
        CollectJournal(path)
    journal.close()
    again = CollectJournal(path)
    again.begin({"tiers": {"mid": [["m"]]}, "temperature": None})
    with pytest.raises(JournalError, match="made with other deployments of small; name"):
        again.begin({"tiers": {"small": [["t"]]}, "temperature": None})
    with pytest.raises(JournalError, match="made with other temperature None, now 1; name"):
        again.begin({**HEAD, "temperature": 1})
    again.close()
    path.write_bytes(path.read_bytes() + b"{}\n")
    with pytest.raises(JournalError, match="line 3 is no line of a journal"):
        CollectJournal(path)


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = CollectJournal(tmp_path / "journal")
    journal.begin(HEAD)
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(OSError, match="No space left"):
        journal.note_call(1)
    monkeypatch.undo()
    assert journal.note_call(1) == 2
    journal.close()
    again = CollectJournal(tmp_path / "journal")
    assert again.progress.lost_nano == 1
    again.close()


@given(
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 120), st.floats(0, 1), st.integers(0, 4)), max_size=30),
)
def test_no_order_of_calls_spends_more_than_the_limit(
    limit: int, calls: list[tuple[int, float, int]]
) -> None:
    async def run() -> None:
        spend = Spend(limit)

        async def call(reserved: int, share: float, turns: int) -> bool:
            try:
                await spend.reserve(reserved)
            except SpendLimitError:
                return False
            for _ in range(turns):
                await asyncio.sleep(0)
            await spend.settle(reserved, int(reserved * share), complete=True)
            assert spend.spent_nano <= limit
            return True

        made = await asyncio.gather(*(call(*one) for one in calls))
        refused = [reserved for (reserved, _, _), went in zip(calls, made, strict=True) if not went]
        assert all(reserved + spend.spent_nano > limit for reserved in refused)

    asyncio.run(run())


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    assert write_rows(path, [{"a": 1}]) == 1

    def broken() -> Any:
        yield {"a": 2}
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_rows(path, broken())
    assert path.read_text() == '{"a":1}\n'
    assert list(tmp_path.iterdir()) == [path]
