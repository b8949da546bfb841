"""The policy file as models; their JSON dump is the resolved document.

`turnout_fastpath.policy_compiler` reads that document, so names of fields here are names of keys there. The
limits on counts are those of the compiled structs (core.pxd, policy.pxd, keywords.pxd).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from turnout_server.budget_model import Budgets, ProviderLimits
from turnout_server.gate_model import Gates
from turnout_server.grading_model import Ensemble, Judge, Shadow
from turnout_server.policy_types import (
    CacheLifetimeName,
    CallerKey,
    Credentials,
    DateText,
    Endpoint,
    Exemplar,
    Gain,
    Modality,
    Name,
    Section,
    SessionMode,
    Share,
    StrategyName,
    TaskBar,
    UsdPerMtok,
    defect,
)
from turnout_server.rule_model import Rule

MAX_TIERS = 8
MAX_DEPLOYMENTS = 256
MAX_REGIONS = 64
MAX_BUCKETS = 64
MAX_POLICIES = 256
MAX_KEYWORD_GROUPS = 1024
MAX_RULES = 1024
MAX_EXEMPLARS = 4096
# Of the settings of the same names.
MAX_TOKEN_WAIT_S = 3600


class Price(Section):
    """What a model costs: numbers as of a date, or an entry of the dated price table, or both."""

    table: Name | None = Field(
        default=None,
        description="Entry of the price table, `<seller>/<model>`, whose prices hold where no number is given "
        "here; null: all numbers are given here.",
    )
    version: DateText | None = Field(
        default=None,
        description="Day from which the numbers hold, as 2026-11-01; recorded with every cost. With `table`: the day "
        "whose prices of the table hold for every call; null: those of the call's own day.",
    )
    input_usd_per_mtok: UsdPerMtok | None = Field(
        default=None,
        description="US dollars a million input tokens that no cache served; needed without `table`.",
    )
    output_usd_per_mtok: UsdPerMtok | None = Field(
        default=None, description="US dollars a million output tokens; needed without `table`."
    )
    cache_read_usd_per_mtok: UsdPerMtok | None = Field(
        default=None,
        description="US dollars a million input tokens read from the provider's cache; null: no such price.",
    )
    cache_write_usd_per_mtok: UsdPerMtok | None = Field(
        default=None,
        description="US dollars a million input tokens written to the provider's cache for five minutes, or for as "
        "long as the provider likes; null: no such price.",
    )
    cache_write_1h_usd_per_mtok: UsdPerMtok | None = Field(
        default=None,
        description="US dollars a million input tokens written to the provider's cache for an hour; null: no such "
        "price.",
    )
    tokens_per_piece: Annotated[float, Field(ge=0.2, le=5)] | None = Field(
        default=None,
        description="The provider's tokens for one word piece of the bundle, 0.2 to 5, for estimates before "
        "the call; null: the table's for the model's family, or 1.",
    )
    filled_from_table: list[Name] = Field(
        default=[],
        description="Fields that `turnout print-config --resolved` filled from the table; they are filled anew "
        "when the file is read, and never written by hand.",
    )

    @model_validator(mode="before")
    @classmethod
    def _forget_filled(cls, value: Any) -> Any:
        """A resolved document read again: what the table gave is asked of the table again."""
        if isinstance(value, dict) and isinstance(filled := value.get("filled_from_table"), list):
            return {
                key: given for key, given in value.items() if key not in filled and key != "filled_from_table"
            }
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.table is None:
            for name in ("version", "input_usd_per_mtok", "output_usd_per_mtok"):
                if getattr(self, name) is None:
                    raise defect("{name} is missing, and no `table` gives it", name=name)
        return self


class Deployment(Section):
    """A model at a provider, in a region, that can serve a request."""

    name: Name = Field(description="What decisions call it; unique over all tiers, at most 128 bytes.")
    provider: Name = Field(
        description="The adapter that speaks to it: anthropic, azure, gemini, groq, ollama, openai, openai_compatible, "
        "openrouter, simulated or vllm."
    )
    model: Name = Field(description="The provider's name of the model, at most 128 bytes.")
    region: Name = Field(
        default="default",
        description="Where it runs, as constraints and rules name it; at most 64 regions in a file.",
    )
    price: Name | None = Field(
        default=None,
        description="Key in `prices`; null: no price, and then every cost that it enters is marked "
        "incomplete.",
    )
    context_window: Annotated[int, Field(gt=0, le=100_000_000)] = Field(
        description="Input and output tokens together that it takes, in provider tokens, 1 to 100,000,000."
    )
    max_output_tokens: Annotated[int, Field(gt=0, le=100_000_000)] = Field(
        description="Most tokens of an answer, in provider tokens, 1 to 100,000,000."
    )
    first_token_s: Annotated[float, Field(ge=0.01, le=MAX_TOKEN_WAIT_S)] | None = Field(
        default=None,
        description="Most seconds to the first token of an answer, 0.01 to 3,600; longer for models that think "
        "first; null: as --first-token-s says.",
    )
    inter_token_s: Annotated[float, Field(ge=0.01, le=MAX_TOKEN_WAIT_S)] | None = Field(
        default=None,
        description="Most seconds between two tokens of an answer, 0.01 to 3,600; null: as --inter-token-s says.",
    )
    modalities: Annotated[list[Modality], Field(min_length=1)] = Field(
        default=["text"], description="Kinds of content that it reads."
    )
    tools: bool = Field(default=True, description="True if it calls tools.")
    # Under an alias, because a pydantic model has a method `json`.
    json_output: bool = Field(
        default=True, alias="json", description="True if it can be held to answer in JSON."
    )
    json_schema: bool = Field(default=True, description="True if it can be held to a JSON Schema.")
    endpoint: Endpoint | None = Field(
        default=None,
        description="http or https address of the provider's API, at most 2,048 bytes; null: the provider's "
        "public one.",
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Where the key is, never the key: the name of an environment variable (capitals, digits, "
        "_), or file:/<path> of a file that holds it; null: none is sent.",
    )


class Tier(Section):
    """A quality and price class, and the deployments of equal quality that serve it."""

    name: Name = Field(description="What decisions call it; unique, at most 128 bytes.")
    head: Name | None = Field(
        default=None,
        description="The bundle's head that judges whether this tier suffices. Every tier but the top one "
        "has one, in the bundle's order; the top one has none.",
    )
    chain: Annotated[list[Deployment], Field(min_length=1)] = Field(
        description="Deployments of equal quality, the first choice first; at most 256 over all tiers."
    )


class Effect(Section):
    """What a bucket does to a request that is like its exemplars; exactly one field is set."""

    floor: Name | None = Field(default=None, description="No tier below this one.")
    tier: Name | None = Field(default=None, description="This tier serves, unless a rule sets one.")
    task: Name | None = Field(default=None, description="The request is taken for this task of the bundle.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (count := sum(value is not None for value in (self.floor, self.tier, self.task))) != 1:
            raise defect("{count} of floor, tier and task are set, exactly one needed", count=count)
        return self


class Bucket(Section):
    """Example prompts; a request that is like one of them gets the effect."""

    name: Name = Field(description="What reasons call it; unique, at most 128 bytes.")
    effect: Effect = Field(
        description="What happens to a request that is like an exemplar.",
        json_schema_extra={"minProperties": 1},
    )
    threshold: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.88,
        description="Least similarity, above 0 to 1, on the bundle's calibrated scale, on which at most 0.5% "
        "of unrelated prompts reach 0.88.",
    )
    exemplars: Annotated[list[Exemplar], Field(max_length=MAX_EXEMPLARS)] = Field(
        default=[], description="Example prompts; at most 4,096, each at most 16,384 bytes."
    )
    exemplar_set: Name | None = Field(
        default=None, description="A set of example prompts that the bundle ships, added to `exemplars`."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.exemplars and self.exemplar_set is None:
            raise defect("neither exemplars nor exemplar_set is set, so it would never match")
        return self


class Bars(Section):
    """Quality bars: the least p_sufficient, 0 to 1, at which a tier serves. The request's own bar wins over a
    rule's, that over the tenant's, the task's, the tier's and the default.
    """

    default: Share = Field(description="The bar where nothing below says otherwise, 0 to 1.")
    tiers: dict[Name, Share] = Field(default={}, description="Bars by tier, 0 to 1.")
    tasks: dict[Name, TaskBar] = Field(
        default={},
        description="Bars by task of the bundle, 0 to 1: one for all tiers, or a mapping of tiers to bars.",
    )
    tenants: dict[CallerKey, Share] = Field(
        default={}, description="Bars by tenant, 0 to 1, for all tiers and tasks."
    )
    max_gain: dict[Name, Gain] = Field(
        default={},
        description="By tier: the most that the top tier's answer may be expected to add to the score, -1 to "
        "1, for this tier to serve all the same. A tier not named has no such limit.",
    )


class Sessions(Section):
    """What a conversation does to the tier."""

    mode: SessionMode = Field(
        default="keep_or_raise",
        description="keep_or_raise: a session never goes below the tier it has; keep_while_warm: it does, unless the "
        "provider's cache is warm there and the request costs no more there than below; none: no memory.",
    )
    ttl_s: Annotated[int, Field(ge=1, le=2_592_000)] = Field(
        default=3600,
        description="Seconds without a request after which a session is forgotten, 1 to 2,592,000 (30 days).",
    )


class Limits(Section):
    """What bounds a request and a decision."""

    max_request_tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None,
        description="Longest request that is decided, in word pieces, 1 to 100,000,000; null: what the "
        "service reads.",
    )
    budget_spent_ceiling: Name | None = Field(
        default=None,
        description="Greatest tier for a tenant whose budget is spent; null: a spent budget changes nothing.",
    )
    least_time_ms: Annotated[float, Field(ge=0, le=60_000)] = Field(
        default=2.0,
        description="With less time left until the deadline than this, in milliseconds, 0 to 60,000, only "
        "rules decide.",
    )


class Record(Section):
    """What the outcome store keeps of a request beside names and numbers, of decisions whose detail is kept."""

    text: bool = Field(
        default=False,
        description="Keep the last user turn, and a completion's answer, with what looks like addresses, numbers and "
        "keys taken out.",
    )
    features: bool = Field(
        default=False,
        description="Keep the row that the classifier reads, with its revision: training accepts it in place of text.",
    )


class PromptCache(Section):
    """Marks on long stable prefixes for the provider's prompt cache; a request that has its own is left as it is."""

    enabled: bool = Field(
        default=False,
        description="True: tools with the system prompt, and the turns before the new ones, are marked where they are "
        "long enough; false: only the caller marks.",
    )
    least_tokens: Annotated[int, Field(ge=256, le=1_000_000)] = Field(
        default=1024,
        description="Shortest prefix that is marked, in tokens of four bytes, 256 to 1,000,000.",
    )
    lifetime: CacheLifetimeName = Field(
        default="5m",
        description="How long a provider that lets one say (Anthropic) keeps what was written: 5m, or 1h at a higher "
        "price.",
    )


class Hedging(Section):
    """A second call to an equivalent deployment when the first token is late; the first of the two to have one serves."""

    enabled: bool = Field(default=False, description="True: late calls are hedged; false: never.")
    delay_s: Annotated[float, Field(ge=0.01, le=600)] | None = Field(
        default=None,
        description="Seconds without a first token after which the second call is sent, 0.01 to 600; null: as the "
        "deployment's own first tokens say, by `quantile`.",
    )
    quantile: Annotated[float, Field(ge=0.5, le=0.999)] = Field(
        default=0.95,
        description="Share of the deployment's last calls, 0.5 to 0.999, that had their first token by the time at which "
        "a call is late; nothing is hedged before 20 were seen.",
    )
    least_delay_s: Annotated[float, Field(ge=0, le=600)] = Field(
        default=0.1, description="By `quantile`: no call is hedged earlier than this, in seconds, 0 to 600."
    )
    share: Annotated[float, Field(ge=0, le=0.2)] = Field(
        default=0.05,
        description="Most hedges as a share of the requests of the last ten seconds, 0 to 0.2, and one besides; each "
        "worker counts its own.",
    )


class Policy(Section):
    """How requests are decided: bars, rules, limits."""

    safe_tier: Name = Field(
        description="The tier that serves where the classifier has no ground to judge, no time, or failed."
    )
    strategy: StrategyName = Field(default="single", description="How `Complete` carries a decision out.")
    min_tier: Name | None = Field(default=None, description="No tier below this one; null: the cheapest.")
    max_tier: Name | None = Field(default=None, description="No tier above this one; null: the dearest.")
    bars: Bars = Field(description="Quality bars.")
    rules: Annotated[list[Rule], Field(max_length=MAX_RULES)] = Field(
        default=[], description="Rules, in the order in which they act; at most 1,024."
    )
    buckets: list[Name] = Field(default=[], description="Names of the file's buckets that this policy uses.")
    sessions: Sessions = Field(
        default_factory=Sessions,
        description="How sessions keep a tier; left out: for an hour, or a higher one.",
    )
    limits: Limits = Field(
        default_factory=Limits, description="Bounds of length, budget and time; left out: the defaults."
    )
    content_policy_failover: bool = Field(
        default=False,
        description="True: a request that a provider's content policy blocks is shown to the other deployments too; false: "
        "the block is returned to the caller.",
    )
    prompt_cache: PromptCache = Field(
        default_factory=PromptCache, description="Marks for provider caches; left out: the caller's alone."
    )
    hedging: Hedging = Field(
        default_factory=Hedging, description="Second calls when the first token is late; left out: none."
    )
    explore: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.0,
        description="Share of decisions, 0 to 0.5, that take another tier at random, to learn from.",
    )
    control_share: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.0,
        description="Share of traffic, 0 to 0.5, that always gets the top tier, as the quality baseline.",
    )
    record: Record = Field(
        default_factory=Record,
        description="What the outcome store keeps of requests; left out: no text, no features.",
    )
    gates: Gates = Field(
        default_factory=Gates, description="What answers must hold; left out: what each request says itself."
    )
    judge: Judge | None = Field(default=None, description="A model that grades answers; null: none.")
    shadow: Shadow | None = Field(
        default=None, description="Answers that are also asked of a higher tier; null: none."
    )
    ensemble: Ensemble = Field(
        default_factory=Ensemble, description="How `ensemble` is carried out; left out: the defaults."
    )


class PolicyFile(Section):
    """Everything that an operator says about routing: prices, tiers, buckets, policies, budgets and limits."""

    version: Literal[1] = Field(description="Version of the file's format: 1.")
    default_policy: Name = Field(
        description="Key in `policies` of the one that decides requests that name none."
    )
    prices: dict[Name, Price] = Field(default={}, description="Prices by a key that deployments name.")
    tiers: Annotated[list[Tier], Field(min_length=2, max_length=MAX_TIERS)] = Field(
        description="Tiers, the cheapest first; 2 to 8."
    )
    buckets: Annotated[list[Bucket], Field(max_length=MAX_BUCKETS)] = Field(
        default=[], description="Exemplar buckets that policies may use; at most 64."
    )
    policies: Annotated[dict[Name, Policy], Field(min_length=1, max_length=MAX_POLICIES)] = Field(
        description="Policies by name; 1 to 256."
    )
    budgets: Budgets = Field(
        default_factory=Budgets,
        description="What tenants and policies may use; left out: as much as they like.",
    )
    provider_limits: ProviderLimits = Field(
        default_factory=ProviderLimits,
        description="What is sent to providers' accounts at most; left out: as much as comes.",
    )
