"""Every way in which providers say how long to wait."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout_server.providers.retry_after import MAX_RETRY_AFTER_S, parse_retry_after

NOW_S = 1_795_000_000.0
INFO = "type.googleapis.com/google.rpc.RetryInfo"


@pytest.mark.parametrize(
    ("headers", "details", "wait_s"),
    [
        ({}, None, None),
        ({"retry-after": "2"}, None, 2.0),
        ({"retry-after": "1.5"}, None, 1.5),
        ({"retry-after": "0"}, None, 0.0),
        ({"retry-after": "-3"}, None, 0.0),
        ({"retry-after": "1e300"}, None, MAX_RETRY_AFTER_S),
        ({"retry-after": "inf"}, None, None),
        ({"retry-after": "soon"}, None, None),
        ({"retry-after": ""}, None, None),
        ({"retry-after-ms": "250", "retry-after": "9"}, None, 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, None, 9.0),
        ({}, [{"@type": INFO, "retryDelay": "17s"}], 17.0),
        ({}, [{"@type": "other"}, {"@type": INFO, "retryDelay": "1.5s"}], 1.5),
        ({}, [{"@type": INFO, "retryDelay": "17"}], None),
        ({}, [None, 3, {"@type": INFO}], None),
        ({}, {"@type": INFO, "retryDelay": "17s"}, None),
        ({"retry-after": "3"}, [{"@type": INFO, "retryDelay": "17s"}], 3.0),
    ],
)
def test_wait(headers: dict[str, str], details: object, wait_s: float | None) -> None:
    assert parse_retry_after(headers, details, wall_s=NOW_S) == wait_s


def test_a_date_counts_from_the_responses_own_date() -> None:
    headers = {"retry-after": "Wed, 18 Nov 2026 11:00:07 GMT", "date": "Wed, 18 Nov 2026 11:00:00 GMT"}
    assert parse_retry_after(headers, wall_s=0.0) == 7.0
    del headers["date"]
    wall_s = 1_795_000_000.0
    found = parse_retry_after({"retry-after": "Wed, 18 Nov 2026 11:00:07 GMT"}, wall_s=wall_s)
    assert found == max(0.0, 1_794_999_607.0 - wall_s)


@given(
    headers=st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms", "date"]), st.text()),
    details=st.recursive(
        st.none() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["@type", "retryDelay"]), inner),
    ),
)
def test_nothing_raises(headers: dict[str, str], details: Any) -> None:
    wait_s = parse_retry_after(headers, details, wall_s=NOW_S)
    assert wait_s is None or 0 <= wait_s <= MAX_RETRY_AFTER_S
