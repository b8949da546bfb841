"""`turnout collect`: labels from a user's own prompts, by asking each tier and grading what it says."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from turnout_server.command_line import (
    FAILED,
    MISUSED,
    BundleOption,
    PolicyOption,
    fail,
    failing,
    print_table,
    progress,
    settings_in_force,
    warn,
)

if TYPE_CHECKING:
    from turnout_fastpath import Snapshot

    from turnout_server.labels.collector import Tally
    from turnout_server.labels.estimate import Estimate
    from turnout_server.labels.journal import CollectJournal, Key
    from turnout_server.labels.prompt_rows import PromptRow
    from turnout_server.labels.upstream import Plan, TierAsker
    from turnout_server.settings import Settings

JOURNAL_SUFFIX = ".journal"
NANO = 1_000_000_000


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(collect)


def collect(
    data: Annotated[
        Path,
        typer.Argument(metavar="DATA", help="Prompts: JSON Lines or Parquet, a row each; docs/labels.md."),
    ],
    *,
    tiers: Annotated[
        str,
        typer.Option("--tiers", metavar="TIERS", help="Tiers of the policy, two at least: small,frontier."),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Labels, JSON Lines; FILE.journal beside it.")
    ],
    grader: Annotated[
        str | None,
        typer.Option(
            "--grader",
            metavar="GRADER",
            help="For rows that name none: exact, numeric, regex, schema, tests, rubric, pairwise.",
        ),
    ] = None,
    rubric: Annotated[
        Path | None, typer.Option("--rubric", metavar="FILE", help="What judged answers are judged by.")
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option("--judge", metavar="TIER", help="Who judges; without it, the policy's top tier."),
    ] = None,
    budget_usd: Annotated[
        float | None,
        typer.Option("--budget-usd", min=0, help="Most to spend, earlier runs into the same file included."),
    ] = None,
    max_output_tokens: Annotated[
        int, typer.Option("--max-output-tokens", min=1, help="Of each answer.")
    ] = 1024,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=2, help="Without it, the provider's own.")
    ] = None,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, max=256, help="Rows under way at once.")
    ] = 8,
    test_s: Annotated[float, typer.Option("--test-s", min=0.1, help="Most seconds of one unit test.")] = 10.0,
    policy: PolicyOption = None,
    bundle: BundleOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")] = False,
) -> None:
    """Ask each tier your prompts, grade the answers, and write labels; a run that was ended goes on where it was."""
    with failing():
        settings = settings_in_force({"policy": policy, "bundle": bundle}).settings
        plan = _Plan(settings, data, tiers, judge, grader, rubric, max_output_tokens, temperature)
        path = out.with_name(out.name + JOURNAL_SUFFIX)
        if out.exists() and not path.exists():
            fail([f"{out}: exists, and {path.name} does not: it would be overwritten"], MISUSED)
        from turnout_server.labels.journal import CollectJournal

        journal = CollectJournal(path)
        try:
            journal.begin(plan.head())
            limit_nano = None if budget_usd is None else int(budget_usd * NANO)
            tally = asyncio.run(plan.run(journal, limit_nano, concurrency, test_s, ask=not yes))
            _write(out, plan, journal, tally)
        except KeyboardInterrupt:
            fail([f"stopped; the same command goes on from {path}"], FAILED)
        finally:
            journal.close()


class _Plan:
    """What is asked of whom."""

    def __init__(
        self,
        settings: Settings,
        data: Path,
        tiers: str,
        judge: str | None,
        grader: str | None,
        rubric: Path | None,
        max_output_tokens: int,
        temperature: float | None,
    ) -> None:
        from turnout_server.labels.criteria import Grader, Usual
        from turnout_server.labels.prompt_rows import read_prompts
        from turnout_server.labels.upstream import make_snapshot

        self.settings = settings
        self.max_output_tokens = max_output_tokens
        self.temperature = temperature
        self.snapshot: Snapshot = make_snapshot(settings.policy, settings.bundle)
        document = self.snapshot.policies.document
        self.chains: Mapping[str, list[list[str | None]]] = {
            tier["name"]: [
                [one[part] for part in ("name", "provider", "model", "endpoint")] for one in tier["chain"]
            ]
            for tier in document["tiers"]
        }
        self.tiers = _pick_tiers(tiers, list(self.chains))
        self.judge = judge or list(self.chains)[-1]
        if self.judge not in self.chains:
            fail(
                [f"--judge: {self.judge!r}, needed: a tier of the policy, {', '.join(self.chains)}"], MISUSED
            )
        ranks = list(self.chains)
        if ranks.index(self.judge) < ranks.index(self.tiers[-1]):
            fail(
                [f"--judge: {self.judge} is weaker than {self.tiers[-1]}, whose answers it would judge"],
                MISUSED,
            )
        if grader is not None and grader not in list(Grader):
            fail([f"--grader: {grader!r}, needed: {', '.join(Grader)}"], MISUSED)
        judged_by = f"{self.judge} {self.chains[self.judge]}"
        usual = Usual(
            None if grader is None else Grader(grader),
            "" if rubric is None else rubric.read_text(encoding="utf-8").strip(),
            {Grader.RUBRIC: judged_by, Grader.PAIRWISE: f"{judged_by} {self.tiers[-1]}"},
        )
        self.rows: list[PromptRow] = read_prompts(
            data, usual, max_output_tokens=max_output_tokens, temperature=temperature
        )
        self.plans: dict[Key, Plan] = {}

    def head(self) -> dict[str, object]:
        """What the journal is of."""
        return {
            "tiers": {tier: self.chains[tier] for tier in self.tiers},
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
        }

    async def run(
        self, journal: CollectJournal, limit_nano: int | None, concurrency: int, test_s: float, *, ask: bool
    ) -> Tally:
        """Shows what it costs, and collects."""
        from random import Random

        from turnout_server.labels.collector import Collector, is_judged
        from turnout_server.labels.criteria import Grader
        from turnout_server.labels.sandbox import HOLDS, SandboxLimits, probe
        from turnout_server.labels.spend import Spend
        from turnout_server.labels.upstream import TierAsker
        from turnout_server.providers.aiohttp_transport import AiohttpTransport
        from turnout_server.providers.registry import create_providers
        from turnout_server.resilience.clock import SystemClock

        transport = AiohttpTransport()
        try:
            asker = TierAsker(
                self.snapshot,
                create_providers(transport),
                SystemClock(),
                Random(),
                first_token_s=self.settings.first_token_s,
                inter_token_s=self.settings.inter_token_s,
            )
            self._make_plans(asker)
            estimates = self._estimate(asker, journal, judged=is_judged(self.rows))
            _show_cost(estimates, journal, limit_nano)
            if any(row.criterion.grader is Grader.TESTS for row in self.rows):
                missing = [name for name in HOLDS if name not in await probe()]
                if missing:
                    warn(f"unit tests run without {' and '.join(missing)}, which this machine does not grant")
            if ask and any(one.calls for one in estimates.values()):
                _ask_to_go_on()
            spend = Spend(limit_nano, journal.progress.spent_nano + journal.progress.lost_nano)
            with progress("collecting", len(self.rows) * len(self.tiers)) as advance:
                collector = Collector(
                    asker,
                    journal,
                    spend,
                    self.tiers,
                    self.judge,
                    concurrency=concurrency,
                    tests_at_once=os.cpu_count() or 1,
                    sandbox=SandboxLimits(time_s=test_s),
                    advance=advance,
                )
                tally = await collector.run(self.rows, self.plans)
        finally:
            await transport.close()
        known = "" if not spend.incomplete else f", and {spend.incomplete} calls of no known price"
        typer.echo(f"spent in all: {_usd(spend.spent_nano)}{known}")
        return tally

    def _make_plans(self, asker: TierAsker) -> None:
        from turnout_fastpath import RouteError

        for row in self.rows:
            for tier in self.tiers:
                if (row.digest, tier) not in self.plans:
                    try:
                        self.plans[row.digest, tier] = asker.plan(row.chat, row.told, tier)
                    except RouteError:
                        continue

    def _estimate(self, asker: TierAsker, journal: CollectJournal, *, judged: bool) -> dict[str, Estimate]:
        from turnout_server.labels.estimate import estimate_answers, estimate_judging

        found = estimate_answers(self.rows, self.tiers, self.plans, journal.progress)
        if judged:
            first = str(self.chains[self.judge][0][0])
            found[f"judge ({self.judge})"] = estimate_judging(
                self.rows, self.tiers, asker.fleet, first, journal.progress, self.max_output_tokens
            )
        return found


def _pick_tiers(told: str, known: Sequence[str]) -> list[str]:
    wanted = [name.strip() for name in told.split(",") if name.strip()]
    strangers = [name for name in wanted if name not in known]
    if strangers or len(set(wanted)) != len(wanted) or len(wanted) < 2:
        fail([f"--tiers: {told!r}, needed: two or more of {', '.join(known)}, each once"], MISUSED)
    return sorted(wanted, key=known.index)


def _show_cost(estimates: Mapping[str, Estimate], journal: CollectJournal, limit_nano: int | None) -> None:
    from turnout_server.labels.estimate import Estimate

    total = Estimate()
    for one in estimates.values():
        total.calls, total.unpriced = total.calls + one.calls, total.unpriced + one.unpriced
        total.usual_nano, total.most_nano = total.usual_nano + one.usual_nano, total.most_nano + one.most_nano
    print_table(
        "estimated cost of what is left",
        ("tier", "calls", "usual", "at most"),
        [
            (name, str(one.calls), _usd(one.usual_nano), _usd(one.most_nano))
            for name, one in [*estimates.items(), ("all", total)]
        ],
    )
    done = journal.progress
    if done.spent_nano or done.lost:
        typer.echo(f"spent before: {_usd(done.spent_nano)}; the journal has {len(done.answers)} answers")
    if done.lost:
        typer.echo(
            f"{len(done.lost)} calls were on their way when a run ended, and count as {_usd(done.lost_nano)}"
        )
    if total.unpriced:
        text = f"{total.unpriced} calls have no known price"
        if limit_nano is not None:
            fail([f"--budget-usd: {text}, so that no budget can be kept"], MISUSED)
        warn(text)


def _ask_to_go_on() -> None:
    import sys

    if not sys.stdin.isatty():
        fail(["nobody is here to say yes: --yes goes on without asking"], MISUSED)
    if not typer.confirm("go on?"):
        fail(["nothing was asked"], FAILED)


def _write(out: Path, plan: _Plan, journal: CollectJournal, tally: Tally) -> None:
    from turnout_server.labels.label_file import label_rows, write_rows

    written = write_rows(out, label_rows(plan.rows, plan.tiers, journal.progress))
    typer.echo(f"{tally.asked} answers asked for, {tally.known} known before, {tally.graded} graded")
    for (tier, cause), count in tally.unanswered.most_common():
        warn(f"{count} requests that {tier} did not answer: {cause}")
    for cause, count in tally.ungraded.most_common():
        warn(f"{count} answers without a grade: {cause}")
    if tally.out_of_money:
        warn("the budget is spent: the same command with a larger one goes on")
    typer.echo(f"wrote {out}: {written} of {len(plan.rows)} rows")
    if not written:
        raise typer.Exit(FAILED)


def _usd(nano: int) -> str:
    return f"${nano / NANO:.4f}"
