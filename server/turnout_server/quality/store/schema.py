"""The tables, for SQLite and PostgreSQL alike. Money in whole nano-dollars, times in milliseconds since 1970, UTC."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

_ID = String(64)
_NAME = String(256)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("decision_id", _ID, primary_key=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("policy", _NAME, nullable=False),
    Column("tier", _NAME, nullable=False),
    Column("status", _NAME, nullable=False),
    Column("deployment", _NAME, nullable=False),
    Column("tenant", _NAME, nullable=False),
    Column("task", _NAME, nullable=False),
    Column("strategy", _NAME, nullable=False),
    Column("propensity", Float, nullable=False),
    Column("tokens_total", BigInteger, nullable=False),
    Column("p_sufficient", Text, nullable=False),
    Column("policy_revision", _NAME, nullable=False),
    Column("bundle_revision", _NAME, nullable=False),
    Column("features_revision", _NAME, nullable=False),
    Column("features", LargeBinary),
    Column("inputs_revision", _NAME, nullable=False, server_default=""),
    Column("prompt", Text),
    Column("answer", Text),
)

# Exact, whatever is sampled.
COUNTS = Table(
    "decision_counts",
    METADATA,
    Column("hour_ms", BigInteger, primary_key=True),
    Column("policy", _NAME, primary_key=True),
    Column("tier", _NAME, primary_key=True),
    Column("status", _NAME, primary_key=True),
    Column("decisions", BigInteger, nullable=False),
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("attempt_id", _ID, primary_key=True),
    Column("decision_id", _ID, nullable=False, index=True),
    Column("begun_ms", BigInteger, nullable=False, index=True),
    Column("deployment", _NAME, nullable=False),
    Column("model", _NAME, nullable=False),
    Column("model_version", _NAME, nullable=False),
    Column("purpose", _NAME, nullable=False),
    Column("result", _NAME, nullable=False),
    Column("fault", _NAME),
    Column("first_token_ms", Float),
    Column("total_ms", Float),
    Column("finish_reason", _NAME, nullable=False),
)

GATES = Table(
    "gates",
    METADATA,
    Column("attempt_id", _ID, primary_key=True),
    Column("step", Integer, primary_key=True),
    Column("decision_id", _ID, nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("gate", _NAME, nullable=False),
    Column("verdict", _NAME, nullable=False),
    Column("reason", _NAME, nullable=False),
    Column("score", Float),
    Column("time_ns", BigInteger, nullable=False),
)

COSTS = Table(
    "costs",
    METADATA,
    Column("attempt_id", _ID, primary_key=True),
    Column("decision_id", _ID, nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("policy", _NAME, nullable=False),
    Column("tenant", _NAME, nullable=False),
    Column("tier", _NAME, nullable=False),
    Column("deployment", _NAME, nullable=False),
    Column("purpose", _NAME, nullable=False),
    Column("result", _NAME, nullable=False),
    Column("processing", _NAME, nullable=False),
    Column("input_uncached", BigInteger, nullable=False),
    Column("input_cache_read", BigInteger, nullable=False),
    Column("input_cache_write_5m", BigInteger, nullable=False),
    Column("input_cache_write_1h", BigInteger, nullable=False),
    Column("output_text", BigInteger, nullable=False),
    Column("output_reasoning", BigInteger, nullable=False),
    # Null: not known, which is not zero.
    Column("cost_nano", BigInteger),
    Column("complete", Boolean, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("price_version", _NAME),
    # Nanoseconds, of a budget's beginning; 0: no budget counted it when it ended.
    Column("settled_ns", BigInteger, nullable=False, server_default="0"),
    Index("ix_costs_tenant_at", "tenant", "at_ms"),
)

# What each price version says, so that an old bill can be computed again whatever became of the price files.
PRICES = Table(
    "prices",
    METADATA,
    Column("version", _NAME, primary_key=True),
    Column("price", Text, nullable=False),
)

SCORES = Table(
    "scores",
    METADATA,
    Column("attempt_id", _ID, primary_key=True),
    Column("decision_id", _ID, nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("source", _NAME, nullable=False),
    Column("tier", _NAME, nullable=False),
    Column("score", Float, nullable=False),
    Column("other_score", Float),
    Column("propensity", Float, nullable=False),
    Column("detail", _NAME, nullable=False),
    Column("other_tier", _NAME, nullable=False, server_default=""),
    Column("judge", _NAME, nullable=False, server_default=""),
    Column("judge_version", _NAME, nullable=False, server_default=""),
)

# What can be said of two answers without a judge.
COMPARISONS = Table(
    "comparisons",
    METADATA,
    Column("attempt_id", _ID, primary_key=True),
    Column("decision_id", _ID, nullable=False, index=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("tier", _NAME, nullable=False),
    Column("other_tier", _NAME, nullable=False),
    Column("agreement", _NAME, nullable=False),
    Column("chars", BigInteger, nullable=False),
    Column("other_chars", BigInteger, nullable=False),
    Column("finish_reason", _NAME, nullable=False),
    Column("other_finish_reason", _NAME, nullable=False),
    Column("propensity", Float, nullable=False),
)

# The last batch of each writer: a batch whose commit was not confirmed is not applied twice.
WRITERS = Table(
    "writers",
    METADATA,
    Column("writer_id", _ID, primary_key=True),
    Column("batch", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

# By table, the column that says when a row came about; what `turnout store prune` deletes by.
DETAIL = {DECISIONS: "at_ms", ATTEMPTS: "begun_ms", GATES: "at_ms", SCORES: "at_ms", COMPARISONS: "at_ms"}
