"""Scalars that the policy file's models are made of, with their limits."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from turnout_server.policy_defects import MAPPING_TAG, NUMBER_TAG, show

MAX_NAME_BYTES = 128
# Of the contract's caller context: tenant, user tier, feature, label keys and values.
MAX_CALLER_BYTES = 256
MAX_DESCRIPTION_BYTES = 1024
MAX_KEYWORD_BYTES = 256
# A bundle embeds the first 256 and the last 128 word pieces of a text; more would not be read.
MAX_EXEMPLAR_BYTES = 16_384
MAX_ENDPOINT_BYTES = 2048

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Capitals only: provider keys have lower-case letters or dashes, so a pasted key is no name.
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,127}")


class Section(BaseModel):
    """A mapping of the file: nothing unknown, nothing converted, nothing changed afterwards."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, serialize_by_alias=True
    )


def defect(template: str, **values: object) -> PydanticCustomError:
    """An error whose message is the template, values filled in as they stand in YAML."""
    return PydanticCustomError("policy", template, {key: show(value) for key, value in values.items()})


def _check_bytes(value: str, limit: int) -> str:
    if (size := len(value.encode())) > limit:
        raise defect("{value} has {size} bytes, limit: {limit}", value=value, size=size, limit=limit)
    return value


def _check_name(value: str) -> str:
    if not value:
        raise defect("{value} is empty", value=value)
    if value != value.strip() or _CONTROL.search(value):
        raise defect("{value} has white space at an end or a control character", value=value)
    return _check_bytes(value, MAX_NAME_BYTES)


def _check_caller_key(value: str) -> str:
    if not value:
        raise defect("{value} is empty", value=value)
    return _check_bytes(value, MAX_CALLER_BYTES)


def _check_keyword(value: str) -> str:
    if not value.strip():
        raise defect("{value} is empty", value=value)
    return _check_bytes(value, MAX_KEYWORD_BYTES)


def _check_exemplar(value: str) -> str:
    if not value.strip():
        raise defect("{value} is empty", value=value)
    return _check_bytes(value, MAX_EXEMPLAR_BYTES)


def _date_text(value: object) -> object:
    """YAML reads an unquoted date as a date, not as text."""
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value.isoformat()
    return value


def _check_date(value: str) -> str:
    try:
        if datetime.date.fromisoformat(value).isoformat() == value:
            return value
    except ValueError:
        pass
    raise defect("{value} is not a date of the form 2026-11-01", value=value)


def _check_endpoint(value: str) -> str:
    # No message shows the value: an address can hold a password or a key.
    _fail_if(len(value.encode()) > MAX_ENDPOINT_BYTES, f"more than the limit of {MAX_ENDPOINT_BYTES} bytes")
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    _fail_if(not usable, "not an http or https address")
    _fail_if("@" in parts.netloc, "holds a user or a password; write `credentials`")
    _fail_if(
        bool(parts.query or parts.fragment),
        "has a query or a fragment; only scheme, host, port and path are read",
    )
    return value


def _fail_if(wrong: bool, message: str) -> None:
    if wrong:
        raise PydanticCustomError("policy", "{message}", {"message": message})


def _check_credentials(value: str) -> str:
    is_file = (
        value.startswith("file:/")
        and not _CONTROL.search(value)
        and len(value.encode()) <= MAX_ENDPOINT_BYTES
    )
    _fail_if(
        not is_file and not _VARIABLE.fullmatch(value),
        "neither an environment variable's name (A-Z, 0-9, _; at most 128 characters) nor file:/<path>; "
        "never write the key itself",
    )
    return value


def _check_usd(value: float) -> float:
    # By the shortest decimal form, which is what stands in the file.
    if Decimal(repr(value)).scaleb(9) % 1:
        raise defect("{value} is finer than the limit of 0.000000001", value=value)
    return value


def _bar_kind(value: Any) -> str:
    return MAPPING_TAG if isinstance(value, dict) else NUMBER_TAG


Name = Annotated[
    str, AfterValidator(_check_name), Field(json_schema_extra={"minLength": 1, "maxLength": MAX_NAME_BYTES})
]
CallerKey = Annotated[
    str,
    AfterValidator(_check_caller_key),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_CALLER_BYTES}),
]
CallerValue = Annotated[
    str,
    AfterValidator(lambda value: _check_bytes(value, MAX_CALLER_BYTES)),
    Field(json_schema_extra={"maxLength": MAX_CALLER_BYTES}),
]
Keyword = Annotated[
    str,
    AfterValidator(_check_keyword),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_KEYWORD_BYTES}),
]
Exemplar = Annotated[
    str,
    AfterValidator(_check_exemplar),
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_EXEMPLAR_BYTES}),
]
Description = Annotated[
    str,
    AfterValidator(lambda value: _check_bytes(value, MAX_DESCRIPTION_BYTES)),
    Field(json_schema_extra={"maxLength": MAX_DESCRIPTION_BYTES}),
]
DateText = Annotated[
    str,
    BeforeValidator(_date_text),
    AfterValidator(_check_date),
    WithJsonSchema({"type": "string", "format": "date"}),
]
Endpoint = Annotated[
    str,
    AfterValidator(_check_endpoint),
    Field(json_schema_extra={"maxLength": MAX_ENDPOINT_BYTES, "format": "uri"}),
]
Credentials = Annotated[
    str,
    AfterValidator(_check_credentials),
    Field(json_schema_extra={"pattern": "^([A-Z_][A-Z0-9_]{0,127}|file:/.+)$"}),
]

# From 0 to 1: a probability, a bar or a share.
Share = Annotated[float, Field(ge=0, le=1)]
# What the top tier's answer is expected to add to a score that goes from 0 to 1.
Gain = Annotated[float, Field(ge=-1, le=1)]
# US dollars a million provider tokens; the greatest is one dollar a token. Bills are in whole nano-dollars, so no
# price is finer.
UsdPerMtok = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_check_usd)]
TaskBar = Annotated[
    Annotated[Share, Tag(NUMBER_TAG)] | Annotated[dict[Name, Share], Tag(MAPPING_TAG)],
    Discriminator(_bar_kind),
]

Modality = Literal["text", "image", "audio", "file"]
StrategyName = Literal["single", "cascade", "ensemble"]
Need = Literal["json", "json_schema", "tools", "image", "audio", "file"]
AnswerUse = Literal["unspecified", "person", "program", "prompt", "action"]
SessionMode = Literal["keep_or_raise", "keep_while_warm", "none"]
CacheLifetimeName = Literal["5m", "1h"]
