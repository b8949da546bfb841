"""The bars that the measurements are held against (design, section 8)."""

from __future__ import annotations

# p50 of a decision in process, us, by word pieces.
DECISION_US = {"32": 15.0, "256": 40.0, "2048": 100.0}
P99_OVER_P50 = 3.0
NS_PER_BYTE = 5.0
# model2vec's time over ours, tokenising and pooling MODEL2VEC_CLASS word pieces.
MODEL2VEC_CLASS = "128"
MODEL2VEC_RATIO = 20.0
LEAST_COSINE = 0.999
# CPU of Route over that of an echo.
RPC_CLASS = "32"
RPC_CPU_RATIO = 1.25
# A load generator that needs more of its core would measure itself.
H2LOAD_CORE_SHARE = 0.8
