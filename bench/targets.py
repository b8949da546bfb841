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
# The decision port, one thread, over the arms of the load tests: calls a second at 8 x 8, by class and arm.
PORT_CALLS = {
    "20 words": {"C++ echo": 3.0, "grpcio echo": 40.0, "nghttp2 echo": 0.45},
    "mixed": {"C++ echo": 1.0, "grpcio echo": 12.0},
}
# p50 beyond the bare echo's with one call at a time, us.
PORT_P50_US = {"20 words": 30.0, "mixed": 60.0}
# p99 in open loop at half of saturation, us, documents apart.
PORT_P99_US = 1000.0
# Answers at twice the saturation, of the most at any rate.
GOODPUT_SHARE = 0.9
# Of Complete beyond a direct call with one at a time: p50 and p99, us; of a stream's first token, p50; calls of a core.
COMPLETE_ADDED_US = (1000.0, 3000.0)
FIRST_TOKEN_ADDED_US = 2000.0
COMPLETE_CALLS_A_CORE = 600.0
# Through Envoy: CPU over a processor that changes nothing; p50 and p99 that are added at a tenth of saturation, us.
GATEWAY_CPU_RATIO = 1.25
GATEWAY_ADDED_US = (300.0, 1000.0)
