"""Draws are of the share that was asked for, the same everywhere, and those of two purposes are independent."""

from __future__ import annotations

import pytest
from turnout_server.completion.attempt import Purpose
from turnout_server.completion.sampling import is_drawn

IDS = [f"{number:032x}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.15, 0.5, 1.0])
def test_a_draw_has_its_share(share: float) -> None:
    drawn = sum(is_drawn(one, Purpose.JUDGE, share) for one in IDS) / len(IDS)
    # Five standard deviations.
    assert abs(drawn - share) <= 5 * (share * (1 - share) / len(IDS)) ** 0.5


def test_draws_are_of_the_id_alone_and_nested() -> None:
    some = {one for one in IDS if is_drawn(one, Purpose.JUDGE, 0.1)}
    more = {one for one in IDS if is_drawn(one, Purpose.JUDGE, 0.2)}
    assert some == {one for one in IDS if is_drawn(one, Purpose.JUDGE, 0.1)}
    assert some < more


def test_purposes_draw_apart() -> None:
    both = sum(is_drawn(one, Purpose.JUDGE, 0.5) and is_drawn(one, Purpose.SHADOW, 0.5) for one in IDS)
    assert abs(both / len(IDS) - 0.25) < 0.02
