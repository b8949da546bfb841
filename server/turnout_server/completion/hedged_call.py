"""One call that is doubled where its first token is late: an equivalent deployment is asked too, and the first token wins.

The loser is aborted at once and billed. Every call is streamed upstream, so this holds for answers that are given whole
as it does for streams; what the loser says is never seen by anyone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from turnout_server.completion.attempt import AttemptResult, Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.calling import Caller
from turnout_server.completion.gates.verdict import Gate
from turnout_server.completion.run import Answer, Listener, Run
from turnout_server.providers.chat import StreamEvent
from turnout_server.providers.faults import FaultKind
from turnout_server.resilience.breakers import Permit
from turnout_server.resilience.hedge import HedgeRace, Runner, Step
from turnout_server.resilience.retry_budget import Place

Outcome = Answer | Attempt


@dataclass
class Call:
    """A call to be made.

    Attributes:
        permit: leave for it.
        purpose: of the attempt.
        first_token_s: most seconds to its first token.
        on_first_token: told of that.
        place: in its tier's budget of further attempts; None: it takes none.
        begun: whether it was made.
    """

    permit: Permit
    purpose: Purpose
    first_token_s: float
    on_first_token: Callable[[], None] = lambda: None
    place: Place | None = None
    begun: bool = False


@dataclass(frozen=True)
class _Lane:
    """Passes on what one runner says, once it has won."""

    listener: Listener
    race: HedgeRace
    runner: Runner

    async def content(self, event: StreamEvent) -> None:
        if self.race.winner is self.runner:
            await self.listener.content(event)

    async def restarted(
        self, tier: str, deployment: str, rejected_by: Gate | None, fault: FaultKind | None
    ) -> None:
        await self.listener.restarted(tier, deployment, rejected_by, fault)


class HedgedCall:
    """A race between a call and the one that is sent after it."""

    def __init__(self, caller: Caller, run: Run, listener: Listener | None, race: HedgeRace) -> None:
        """Nothing is sent yet; `race` says who wins."""
        self._caller = caller
        self._run = run
        self._listener = listener
        self._race = race
        self._calls: dict[Runner, Call] = {}
        self._tasks: dict[Runner, asyncio.Task[Outcome]] = {}
        self._decided: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._first = len(run.log.attempts)

    async def run(
        self, primary: Call, find_hedge: Callable[[], Call | None], delay_s: float
    ) -> tuple[Outcome, Permit]:
        """What came of the winner, or of the last that failed, and its permit.

        Args:
            primary: the call.
            find_hedge: the second one, once it is due; None: nobody is free.
            delay_s: when it is due, in seconds from now.
        """
        try:
            self._send(Runner.PRIMARY, primary)
            await self._wait(delay_s)
            if self._race.winner is None and not self._tasks[Runner.PRIMARY].done():
                self._hedge(find_hedge())
            last = Runner.PRIMARY
            failed: set[Runner] = set()
            while self._race.winner is None and len(failed) < len(self._tasks):
                await self._wait(None)
                for runner, task in self._tasks.items():
                    if runner in failed or not task.done() or self._race.winner is not None:
                        continue
                    if isinstance(task.result(), Answer):
                        # Whole, and not a word in it.
                        self._first_token(runner)
                    else:
                        failed.add(runner)
                        last = runner
                        self._race.on_failure(runner)
            final = last if self._race.winner is None else self._race.winner
            return await self._tasks[final], self._calls[final].permit
        finally:
            self._race.on_cancel()
            await self._end()

    def _send(self, runner: Runner, call: Call) -> None:
        lane = None if self._listener is None else _Lane(self._listener, self._race, runner)

        async def make() -> Outcome:
            call.begun = True
            return await self._caller.call(
                self._run,
                call.permit,
                call.purpose,
                lane,
                call.first_token_s,
                lambda: self._first_token(runner),
            )

        self._calls[runner] = call
        self._tasks[runner] = asyncio.ensure_future(make())

    def _hedge(self, hedge: Call | None) -> None:
        if hedge is None:
            return
        if self._race.on_timer(has_equivalent=True) is Step.SEND_HEDGE:
            self._send(Runner.HEDGE, hedge)
        else:
            self._drop(hedge)

    def _first_token(self, runner: Runner) -> None:
        """The first of the two aborts the other."""
        self._race.on_first_token(runner)
        if self._race.winner is not runner:
            return
        self._calls[runner].on_first_token()
        if self._race.lost is not None:
            self._tasks[self._race.lost].cancel()
        if not self._decided.done():
            self._decided.set_result(None)

    async def _wait(self, timeout_s: float | None) -> None:
        running: list[asyncio.Future[Any]] = [task for task in self._tasks.values() if not task.done()]
        if running:
            running.append(self._decided)
            await asyncio.wait(running, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)

    async def _end(self) -> None:
        """Whatever still runs is aborted; whoever did not win is billed as such."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for runner, call in self._calls.items():
            if not call.begun:
                self._drop(call)
            elif self._race.winner not in (None, runner):
                self._outrun(call)
            if call.place is not None:
                call.place.end(spent=self._race.winner is not runner)

    def _outrun(self, call: Call) -> None:
        for attempt in self._run.log.attempts[self._first :]:
            if attempt.deployment.target.name == call.permit.deployment and attempt.purpose is call.purpose:
                attempt.outrun = attempt.result is not AttemptResult.FAILED
                if attempt.outrun:
                    attempt.result = AttemptResult.CANCELLED

    def _drop(self, call: Call) -> None:
        """A call that is not made."""
        self._run.access.release(call.permit)
        if call.place is not None:
            call.place.end(spent=False)
