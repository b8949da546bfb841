"""The exchange of budgets with other machines, on a thread of its own: requests never wait for it."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Iterable
from random import Random

from turnout_fastpath import StateBlock
from turnout_fastpath.breaker_table import BreakerTable

from turnout_server.lifecycle import StartError
from turnout_server.observability.metrics import SHARED_EXCHANGES, Metrics
from turnout_server.resilience.breaker import Breaker
from turnout_server.resilience.breaker_rules import BreakerRules
from turnout_server.resilience.budgets import BudgetKind, Scope, counter_name
from turnout_server.resilience.clock import Clock
from turnout_server.resilience.periods import day_of, month_of, unix_ms
from turnout_server.resilience.shared_limits import RedisStore, SharedSpend
from turnout_server.settings import Settings

INTERVAL_S = 1.0
# Three failures in a row, and the server is left alone for a second, then longer.
RULES = BreakerRules(run=3)
# The variables in which the servers' own command lines look for a password.
PASSWORD_VARIABLES = ("VALKEYCLI_AUTH", "REDISCLI_AUTH")


class BudgetSharing:
    """One worker's side of the exchange.

    Attributes:
        spend: what is told and learned.
    """

    def __init__(
        self,
        settings: Settings,
        state: StateBlock,
        clock: Clock,
        random: Random,
        metrics: Metrics,
        *,
        interval_s: float = INTERVAL_S,
    ) -> None:
        """Connects when the first exchange is made.

        Args:
            settings: the server's address, and the port by which this machine's workers are known.
            state: where the exchange's breaker stands.
            clock: of periods.
            random: source of jitter.
            metrics: what counts.
            interval_s: seconds between exchanges.

        Raises:
            StartError: the package redis is missing.
            StateError: the block has no room for the breaker.
        """
        assert settings.shared_limits is not None
        password = next((value for name in PASSWORD_VARIABLES if (value := os.environ.get(name))), None)
        try:
            self._store = RedisStore(settings.shared_limits, password=password)
        except ModuleNotFoundError as error:
            raise StartError(
                "shared_limits needs the package redis: pip install 'turnout[shared]'"
            ) from error
        breaker = Breaker(BreakerTable(state), "shared limits", RULES, clock, random)
        self.spend = SharedSpend(self._store, machine_name(settings), breaker, clock)
        self._clock = clock
        self._interval_s = interval_s
        self._done = metrics.count(SHARED_EXCHANGES, "done")
        self._failed = metrics.count(SHARED_EXCHANGES, "failed")
        self._stop = threading.Event()
        # A daemon: a name service that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="shared-limits", daemon=True)

    def start(self) -> None:
        """Begins to exchange."""
        self._thread.start()

    def close(self) -> None:
        """Tells nothing more."""
        self._stop.set()

    def learn(self, scopes: Iterable[Scope]) -> bool:
        """One exchange at once, of the counters of these scopes; blocks for tens of milliseconds at most."""
        now_ms = unix_ms(self._clock)
        for scope in scopes:
            self.spend.spent(counter_name(scope, BudgetKind.SPEND_DAY), day_of(now_ms))
            self.spend.spent(counter_name(scope, BudgetKind.SPEND_MONTH), month_of(now_ms))
        return self.spend.exchange()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            count = self._done if self.spend.exchange() else self._failed
            count.add()
        self._store.close()


def machine_name(settings: Settings) -> str:
    """A name that this machine's workers share, that it keeps over restarts, and that no other machine has."""
    if not settings.port:
        return f"{_host()}-{uuid.uuid4().hex}"
    return f"{_host()}-{settings.port}"


def _host() -> str:
    return socket.gethostname().replace(":", "-") or "unnamed"
