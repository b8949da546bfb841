"""What the policy file says of budgets (tenants, policies) and of limits (providers' accounts, deployments).

The compiled core does not read these sections: decisions hear of a spent budget through the state block.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from turnout_server.policy_types import CallerKey, Credentials, Name, Section, Share, defect

# A counter of the state block holds 2^54 - 1 nano-dollars, 18,014,398 dollars.
MAX_USD = 18_000_000
# See resilience/rates.py.
MAX_PER_MINUTE = 10_000_000_000
MAX_IN_FLIGHT = 1_000_000
MAX_RETRIES_AT_ONCE = 1000
# Of the file's own budgets. The state block has room for 32,768 in sets of 16, of which 8,000 find theirs.
MAX_COUNTERS = 8000

NANO_DIGITS = 9

_AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,24})?")


def _read_usd(value: Any) -> str:
    """A number, or text, as the shortest decimal: equal amounts are equal in the resolved document."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if math.isnan(value):
            raise defect("{value} is not an amount, such as 12.5", value=value)
        if value < 0:
            raise defect("{value} is less than 0", value=value)
        if not value <= MAX_USD:
            raise defect("{value} is greater than {limit}", value=value, limit=MAX_USD)
        text = format(Decimal(repr(value)), "f")
    else:
        raise defect("{value} is not an amount, such as 12.5", value=value)
    if not _AMOUNT.fullmatch(text):
        raise defect('{value} is not an amount, such as 12.5 or "12.50"', value=value)
    # Zeros at the end say nothing.
    whole, _, part = text.partition(".")
    part = part.rstrip("0")
    if len(part) > NANO_DIGITS:
        raise defect("{value} is finer than the limit of 0.000000001", value=value)
    shown = f"{int(whole)}.{part}" if part else str(int(whole))
    if Decimal(shown) > MAX_USD:
        raise defect("{value} is greater than {limit}", value=value, limit=MAX_USD)
    return shown


Usd = Annotated[
    str,
    BeforeValidator(_read_usd),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": MAX_USD},
                {"type": "string", "pattern": r"^[0-9]{1,8}(\.[0-9]{1,9}0*)?$"},
            ]
        }
    ),
]
PerMinute = Annotated[int, Field(ge=1, le=MAX_PER_MINUTE)]


class Budget(Section):
    """What one tenant or one policy may use; a limit that is left out does not hold."""

    day_usd: Usd | None = Field(
        default=None,
        description="US dollars a UTC day, a number or text, exact to the nano-dollar, 0 to 18,000,000; null: no limit.",
    )
    month_usd: Usd | None = Field(
        default=None,
        description="US dollars a UTC month, a number or text, exact to the nano-dollar, 0 to 18,000,000; null: no "
        "limit.",
    )
    tokens_per_minute: PerMinute | None = Field(
        default=None,
        description="Input and output tokens a minute, in provider tokens, 1 to 10,000,000,000; null: no limit.",
    )
    requests_per_minute: PerMinute | None = Field(
        default=None, description="Completions a minute, 1 to 10,000,000,000; null: no limit."
    )


class Budgets(Section):
    """What tenants and policies may use. A completion must fit its tenant's budget and its policy's."""

    tenants: dict[CallerKey, Budget] = Field(
        default={},
        description="Budgets by tenant; a tenant that is named here has this one alone, and none where it is {}.",
    )
    other_tenants: Budget | None = Field(
        default=None,
        description="The budget that each tenant has that is not named; callers that name no tenant have one "
        "together. null: none.",
    )
    policies: dict[Name, Budget] = Field(
        default={}, description="Budgets by policy, for all tenants together."
    )


class ProviderLimit(Section):
    """What is sent to one account or one deployment at most."""

    in_flight: Annotated[int, Field(ge=1, le=MAX_IN_FLIGHT)] | None = Field(
        default=None,
        description="Calls under way at once, 1 to 1,000,000, divided among the workers; null: no limit.",
    )
    requests_per_minute: PerMinute | None = Field(
        default=None, description="Calls a minute, 1 to 10,000,000,000; null: no limit."
    )
    tokens_per_minute: PerMinute | None = Field(
        default=None,
        description="Input and output tokens a minute, in provider tokens, 1 to 10,000,000,000; null: no limit.",
    )


class AccountLimit(ProviderLimit):
    """Limits of all deployments that have the same credentials."""

    credentials: Credentials = Field(
        description="The credentials, as deployments name them; never the key itself."
    )
    retry_share: Share = Field(
        default=0.2, description="Retries of the account, as a share of its requests, 0 to 1."
    )
    retries_at_once: Annotated[int, Field(ge=0, le=MAX_RETRIES_AT_ONCE)] = Field(
        default=3, description="Retries of the account beyond that share, 0 to 1,000."
    )


class DeploymentLimit(ProviderLimit):
    """Limits of one deployment; those of its account hold too."""

    deployment: Name = Field(description="The deployment's name.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.in_flight is None and self.requests_per_minute is None and self.tokens_per_minute is None:
            raise defect(
                "{name} has none of in_flight, requests_per_minute and tokens_per_minute",
                name=self.deployment,
            )
        return self


class ProviderLimits(Section):
    """What is sent to providers at most; a deployment at a limit is passed over for the next."""

    accounts: Annotated[list[AccountLimit], Field(max_length=256)] = Field(
        default=[], description="Limits by credentials, each once; at most 256."
    )
    deployments: Annotated[list[DeploymentLimit], Field(max_length=256)] = Field(
        default=[], description="Limits by deployment, each once; at most 256."
    )
