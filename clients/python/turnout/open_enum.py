"""Enums of the contract: open, since a newer server may send numbers that this client does not know."""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class OpenIntEnum(IntEnum):
    """An IntEnum that takes any number; one without a name of its own is named UNKNOWN_<number>.

    Compare members with `==`: equal unknown numbers are equal, but not the same object.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        # Not kept: a peer cannot make the class grow.
        member = int.__new__(cls, value)
        member._name_ = f"UNKNOWN_{value}"
        member._value_ = value
        return member
