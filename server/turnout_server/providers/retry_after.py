"""How long a provider wants to be left alone, in all the ways that providers say it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

# Longer waits are as good as never to a request, and a broken header shall not close a deployment for years.
MAX_RETRY_AFTER_S = 86_400.0

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)s")
_RETRY_INFO = "google.rpc.RetryInfo"


def parse_retry_after(headers: Mapping[str, str], details: object = None, *, wall_s: float) -> float | None:
    """Seconds to wait: `retry-after-ms`, `retry-after` as seconds or HTTP date, else google.rpc.RetryInfo.

    Args:
        headers: of the response, keys in lower case or a case-insensitive mapping.
        details: `error.details` of a Google error body, as parsed from JSON.
        wall_s: now, in seconds since the epoch; the response's own Date is preferred, so that clocks need not agree.

    Returns:
        0 to `MAX_RETRY_AFTER_S`; None where nothing usable is said.
    """
    if (wait_s := _number(headers.get("retry-after-ms"))) is not None:
        return _bounded(wait_s / 1000)
    told = headers.get("retry-after")
    if (wait_s := _number(told)) is not None:
        return _bounded(wait_s)
    if told and (until_s := _date(told)) is not None:
        now_s = _date(headers.get("date", ""))
        return _bounded(until_s - (wall_s if now_s is None else now_s))
    return _retry_info(details)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _retry_info(details: object) -> float | None:
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict) or not str(detail.get("@type", "")).endswith(_RETRY_INFO):
            continue
        if found := _DURATION.fullmatch(str(detail.get("retryDelay", ""))):
            return _bounded(float(found[1]))
    return None


def _bounded(wait_s: float) -> float:
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
