"""The one fail-over path: calls deployments, asks the retry policy what follows a fault, until an answer is whole.

It keeps at most four attempts a request, the breakers, the retry budgets and every deadline; whatever the strategy, no
upstream call to answer a caller is made elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.calling import Caller
from turnout_server.completion.run import Answer, Listener, Run
from turnout_server.completion.search import LEAST_ATTEMPT_S, Means, Search
from turnout_server.providers.protocol import Provider
from turnout_server.resilience.breakers import Permit
from turnout_server.resilience.clock import Clock

__all__ = ["LEAST_ATTEMPT_S", "Answer", "Dispatcher", "Listener", "Run"]


class Dispatcher:
    """Makes upstream calls on behalf of requests."""

    def __init__(
        self,
        providers: Mapping[str, Provider],
        clock: Clock,
        random: Random,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Calls `providers`, by the name that deployments give.

        Args:
            providers: adapters.
            clock: of deadlines, breakers and budgets.
            random: source of jitter.
            sleep: waits out a retry's delay.
        """
        self._caller = Caller(providers, clock)
        self._means = Means(self._caller, clock, random, sleep)

    async def answer(
        self,
        run: Run,
        tier: str,
        purpose: Purpose,
        listener: Listener | None,
        *,
        lower: bool = True,
    ) -> Answer:
        """A whole answer of the tier, or of another one that may stand in for it.

        Args:
            run: the request.
            tier: whose chain comes first.
            purpose: of the attempts.
            listener: sees the answer as it comes; None: nobody does before it is whole.
            lower: whether a lower tier may stand in.

        Raises:
            CompletionError: there is none.
        """
        return await Search(self._means, run, tier, purpose, listener, lower).run()

    async def call(
        self, run: Run, permit: Permit, purpose: Purpose, listener: Listener | None, first_token_s: float
    ) -> Answer | Attempt:
        """Makes one upstream call, which has so long to its first token; the attempt alone if it failed."""
        return await self._caller.call(run, permit, purpose, listener, first_token_s)
