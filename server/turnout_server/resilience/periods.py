"""Days and months of budgets, in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from turnout_server.resilience.clock import Clock


class Period(NamedTuple):
    """A span of whole UTC days, in Unix milliseconds; the end is the next one's beginning."""

    begins_ms: int
    ends_ms: int


def day_of(unix_ms: int) -> Period:
    """The UTC day of a time."""
    begins_ms = unix_ms // 86_400_000 * 86_400_000
    return Period(begins_ms, begins_ms + 86_400_000)


def month_of(unix_ms: int) -> Period:
    """The UTC month of a time."""
    return _month_of_day(unix_ms // 86_400_000)


@lru_cache(maxsize=8)
def _month_of_day(day: int) -> Period:
    first = datetime.fromtimestamp(day * 86_400, UTC).replace(day=1)
    following = (first + timedelta(days=32)).replace(day=1)
    return Period(int(first.timestamp()) * 1000, int(following.timestamp()) * 1000)


def unix_ms(clock: Clock) -> int:
    """Whole milliseconds since 1970."""
    return int(clock.unix_s() * 1000)
