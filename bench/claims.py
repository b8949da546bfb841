"""What the saved results say, each beside the bar it is held against and the command that measures it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import targets
from bench.instructions import TOLERANCE
from bench.load.arms import BARE, TURNOUT
from bench.load.comparison import HALF, MANY, ONE, TWICE, find_closed

Result = Mapping[str, Any]

# Of the service, beside its memory, in a soak.
GROWING = ("descriptors", "threads")


@dataclass(frozen=True)
class Claim:
    """One row of the table.

    Attributes:
        what: what was measured.
        figure: the result, with its unit.
        bar: what it must reach; empty if it is held against nothing.
        holds: whether it does; None without a bar.
        bench: the benchmark that measures it.
    """

    what: str
    figure: str
    bar: str
    holds: bool | None
    bench: str

    @property
    def command(self) -> str:
        """What reproduces the figure."""
        return "python -m bench.complete.soak" if self.bench == "soak" else f"python -m bench {self.bench}"


def list_claims(results: Mapping[str, Result]) -> list[Claim]:
    """Every claim for which there is a result."""
    makers: Mapping[str, Callable[[Result], Iterator[Claim]]] = {
        "kernels": _kernels,
        "peers": _peers,
        "rpc": _rpc,
        "instructions": _instructions,
        "load": _load,
        "completions": _completions,
        "envoy": _envoy,
        "soak": _soak,
    }
    return [claim for bench, make in makers.items() if bench in results for claim in make(results[bench])]


def _kernels(result: Result) -> Iterator[Claim]:
    decision = result["decision"]
    lengths = list(targets.DECISION_US)
    names = _slashed(f"{int(length):,}" for length in lengths)
    p50 = [decision[length]["route"]["p50_ns"] / 1000 for length in lengths]
    bars = list(targets.DECISION_US.values())
    yield Claim(
        f"decision in process, p50, {names} word pieces",
        f"{_slashed(map(_short, p50))} µs",
        f"{_slashed(map(_short, bars))} µs",
        all(time <= bar for time, bar in zip(p50, bars, strict=True)),
        "kernels",
    )
    ratios = [decision[length]["p99_over_p50"]["median"] for length in lengths]
    yield Claim(
        "its p99 over its p50",
        _slashed(map(_short, ratios)),
        f"at most {_short(targets.P99_OVER_P50)}",
        all(ratio <= targets.P99_OVER_P50 for ratio in ratios),
        "kernels",
    )
    slopes = {script: entry["ns_per_byte"]["median"] for script, entry in result["beyond_windows"].items()}
    yield Claim(
        f"what a byte beyond the windows adds, {_slashed(slopes)}",
        f"{_slashed(map(_short, slopes.values()))} ns",
        f"at most {_short(targets.NS_PER_BYTE)} ns",
        all(slope <= targets.NS_PER_BYTE for slope in slopes.values()),
        "kernels",
    )
    cold = [entry["p50_ns"] / 1000 for entry in result["cold_decision"].values()]
    names = _slashed(f"{int(length):,}" for length in result["cold_decision"])
    yield Claim(
        f"decision in process with cold caches, p50, {names} word pieces",
        f"{_slashed(map(_short, cold))} µs",
        "",
        None,
        "kernels",
    )
    many = result["route_many"]["route_many"]["p50_ns"] / 1000
    yield Claim("`route_many`, mixed prompts", f"{_short(many)} µs a prompt", "", None, "kernels")


def _peers(result: Result) -> Iterator[Claim]:
    length = targets.MODEL2VEC_CLASS
    entry = result["lengths"][length]
    arms, ratios = entry["arms"], entry["ratios"]

    def against(mine: str, theirs: str) -> str:
        return f"{_short(arms[mine]['p50_ns'] / 1000)} against {_short(arms[theirs]['p50_ns'] / 1000)} µs"

    same = ratios["model2vec / tokenise and pool"]["median"]
    yield Claim(
        f"tokenise and pool against model2vec's `encode`, same table, {length} pieces, one prompt a call",
        f"{_short(same)} times faster ({against('tokenise and pool', 'model2vec')})",
        f"{_short(targets.MODEL2VEC_RATIO)} times",
        same >= targets.MODEL2VEC_RATIO,
        "peers",
    )
    for what, name, mine, theirs in (
        (
            "the same, our word cache off",
            "model2vec / tokenise and pool, no cache",
            "tokenise and pool, no cache",
            "model2vec",
        ),
        (
            f"the whole decision against model2vec's `encode`, {length} pieces",
            "model2vec / decision",
            "decision",
            "model2vec",
        ),
        (
            f"tokenising against Hugging Face `tokenizers`, {length} pieces, one prompt a call",
            "tokenizers / wordpiece",
            "wordpiece",
            "tokenizers",
        ),
    ):
        figure = f"{_short(ratios[name]['median'])} times faster ({against(mine, theirs)})"
        yield Claim(what, figure, "", None, "peers")
    # In batches the others use all cores, so that the wall time is not the whole of their cost.
    batch = "model2vec batch / tokenise and pool batch"
    cpu = arms["model2vec, batch"]["cpu_ns"] / arms["tokenise and pool, batch"]["cpu_ns"]
    yield Claim(
        f"tokenise and pool against model2vec's `encode`, {length} pieces, {result['batch']} prompts a call",
        f"{_short(ratios[batch]['median'])} times faster, {_short(cpu)} times less CPU "
        f"({against('tokenise and pool, batch', 'model2vec, batch')} a prompt)",
        "",
        None,
        "peers",
    )
    agreement = result["agreement"]
    yield Claim(
        "the answers of these agree",
        f"same pieces on {agreement['prompts_with_equal_pieces']:,} prompts, "
        f"least cosine {agreement['least_cosine']:.6f} on {agreement['prompts_with_equal_vectors']:,}",
        f"all; {targets.LEAST_COSINE}",
        # A run in which they do not agree saves no result.
        agreement["least_cosine"] >= targets.LEAST_COSINE,
        "peers",
    )


def _rpc(result: Result) -> Iterator[Claim]:
    cells = [cell for cell in result["cells"] if cell["class"] == targets.RPC_CLASS]
    at_once = f"{_slashed(str(cell['concurrency']) for cell in cells)} calls at once"
    ratios = [cell["cpu_ratio"]["route / echo"]["median"] for cell in cells]
    yield Claim(
        f"CPU a call of `Route` over that of a grpcio aio echo, {targets.RPC_CLASS} pieces, {at_once}",
        _slashed(map(_short, ratios)),
        f"at most {_short(targets.RPC_CPU_RATIO)}",
        all(ratio <= targets.RPC_CPU_RATIO for ratio in ratios),
        "rpc",
    )
    lean = [cell["cpu_ratio"]["route / lean echo"]["median"] for cell in cells]
    yield Claim("the same over an echo tuned as our server is", _slashed(map(_short, lean)), "", None, "rpc")
    for what, key, unit in (
        ("CPU a call", "server_cpu_us", " µs"),
        ("calls a second, one worker", "calls_per_s", ""),
        ("latency, p50", "p50_us", " µs"),
        ("latency, p99", "p99_us", " µs"),
    ):
        mine, theirs = (
            _slashed(_short(cell["arms"][name][key]) for cell in cells) for name in ("route", "echo")
        )
        yield Claim(f"{what}, {at_once}", f"{mine}{unit} (echo {theirs}{unit})", "", None, "rpc")
    share = max(arm["h2load_core_share"] for cell in result["cells"] for arm in cell["arms"].values())
    yield Claim(
        "the load generator's greatest share of a core",
        f"{share:.2f}",
        f"at most {targets.H2LOAD_CORE_SHARE}",
        share <= targets.H2LOAD_CORE_SHARE,
        "rpc",
    )


def _instructions(result: Result) -> Iterator[Claim]:
    counts = result["instructions_per_decision"]
    names = _slashed(f"{int(length):,}" for length in counts)
    compared = result["baseline"]
    figure = f"{_slashed(_short(count / 1000) for count in counts.values())} thousand"
    if compared is not None:
        figure += f" ({_slashed(f'{change:+.1%}' for change in compared['changes'].values())})"
    yield Claim(
        f"instructions of a decision in process, {names} word pieces",
        figure,
        "" if compared is None else f"at most {TOLERANCE:.0%} above the baseline",
        None if compared is None else compared["holds"],
        "instructions --check",
    )


def _load(result: Result) -> Iterator[Claim]:
    for prompt_class, bars in targets.PORT_CALLS.items():
        cell = find_closed(result["closed"], prompt_class, MANY)
        ratios = [cell["calls_ratio"][arm]["median"] for arm in bars]
        yield Claim(
            f"decisions a second of the decision port, one thread, {prompt_class}, 8 x 8 calls under way, over a "
            f"{_slashed(bars)}",
            f"{_slashed(map(_short, ratios))} ({cell['arms'][TURNOUT]['good_per_s']:,.0f}/s)",
            f"at least {_slashed(map(_short, bars.values()))}",
            all(ratio >= bar for ratio, bar in zip(ratios, bars.values(), strict=True)),
            "load",
        )
    added = [
        find_closed(result["closed"], name, ONE)["p50_difference_us"][BARE]["median"]
        for name in targets.PORT_P50_US
    ]
    yield Claim(
        f"p50 of the decision port beyond a bare nghttp2 echo's, one call at a time, {_slashed(targets.PORT_P50_US)}",
        f"{_slashed(map(_short, added))} µs",
        f"at most {_slashed(map(_short, targets.PORT_P50_US.values()))} µs",
        all(us <= bar for us, bar in zip(added, targets.PORT_P50_US.values(), strict=True)),
        "load",
    )
    classes = list(dict.fromkeys(cell["class"] for cell in result["open"]))
    cells = [cell for cell in result["open"] if cell["arm"] == TURNOUT]
    half = [cell for name in classes for cell in cells if cell["class"] == name and cell["fraction"] == HALF]
    # Nothing answered is no figure, and holds no bar.
    p99, p999 = ([cell[key] or math.inf for cell in half] for key in ("p99_us", "p999_us"))
    yield Claim(
        f"p99 at half of saturation, open loop, from when a call was due, {_slashed(classes)}",
        f"{_slashed(map(_short, p99))} µs (p99.9 {_slashed(map(_short, p999))} µs)",
        f"under {_short(targets.PORT_P99_US)} µs",
        all(us < targets.PORT_P99_US for us in p99),
        "load",
    )
    shares, shed = [], []
    for name in classes:
        mine = [cell for cell in cells if cell["class"] == name]
        closed = find_closed(result["closed"], name, MANY)["arms"][TURNOUT]["good_per_s"]
        peak = max(closed, *(cell["good_per_s"] for cell in mine))
        [twice] = [cell for cell in mine if cell["fraction"] == TWICE]
        shares.append(twice["good_per_s"] / peak)
        shed.append(twice["shed_per_s"] / twice["rate"])
    yield Claim(
        f"goodput at twice the saturation, of the peak, {_slashed(classes)}",
        f"{_slashed(f'{share:.0%}' for share in shares)} "
        f"({_slashed(f'{share:.0%}' for share in shed)} of what was due refused with RetryInfo)",
        f"at least {targets.GOODPUT_SHARE:.0%}",
        all(share >= targets.GOODPUT_SHARE for share in shares),
        "load",
    )


def _completions(result: Result) -> Iterator[Claim]:
    added = result["latency"]["added"]["Complete - direct"]
    p50, p99 = (added[key]["median"] for key in ("p50_us", "p99_us"))
    yield Claim(
        "`Complete` beyond a direct aiohttp call of the same upstream, one at a time, p50 / p99",
        f"{_short(p50 / 1000)} / {_short(p99 / 1000)} ms",
        f"at most {_slashed(_short(us / 1000) for us in targets.COMPLETE_ADDED_US)} ms",
        p50 <= targets.COMPLETE_ADDED_US[0] and p99 <= targets.COMPLETE_ADDED_US[1],
        "completions",
    )
    first = result["latency"]["added"]["CompleteStream - direct, streamed"]["first_p50_us"]["median"]
    yield Claim(
        "time to first token of `CompleteStream` beyond the direct call's, p50",
        f"{_short(first / 1000)} ms",
        f"at most {_short(targets.FIRST_TOKEN_ADDED_US / 1000)} ms",
        first <= targets.FIRST_TOKEN_ADDED_US,
        "completions",
    )
    carried = [
        result["throughput"][name]["calls_per_core_s"]["median"] for name in ("Complete", "CompleteStream")
    ]
    yield Claim(
        "calls a second of a core, `Complete` / `CompleteStream`, answers of 20 tokens",
        _slashed(map(_short, carried)),
        f"at least {_short(targets.COMPLETE_CALLS_A_CORE)}",
        all(rate >= targets.COMPLETE_CALLS_A_CORE for rate in carried),
        "completions",
    )
    for port, states in result["priority"]["ports"].items():
        told = _slashed(f"{_short(cell['p99_us'] / 1000)} ms {state}" for state, cell in states.items())
        yield Claim(f"p99 of `Route` on the {port}, 50 a second", told, "", None, "completions")


def _envoy(result: Result) -> Iterator[Claim]:
    sizes = _slashed(result["cells"])
    for arm, bar in (("main port", targets.GATEWAY_CPU_RATIO), ("decision port", None)):
        ratios = [cell["cpu_ratio"][arm]["median"] for cell in result["cells"].values()]
        yield Claim(
            f"CPU of an Envoy's request over that of a grpcio processor that changes nothing, {arm}, {sizes}",
            _slashed(map(_short, ratios)),
            "" if bar is None else f"at most {_short(bar)}",
            None if bar is None else all(ratio <= bar for ratio in ratios),
            "envoy",
        )
    added = [cell["added_us"]["decision port"] for cell in result["cells"].values()]
    p50, p99 = ([one[key] / 1000 for one in added] for key in ("p50_us", "p99_us"))
    yield Claim(
        f"what the decision port adds to a request through Envoy, a tenth of saturation, p50; p99, {sizes}",
        f"{_slashed(map(_short, p50))}; {_slashed(map(_short, p99))} ms",
        f"under {_slashed(_short(us / 1000) for us in targets.GATEWAY_ADDED_US)} ms",
        max(p50) * 1000 < targets.GATEWAY_ADDED_US[0] and max(p99) * 1000 < targets.GATEWAY_ADDED_US[1],
        "envoy",
    )


def _soak(result: Result) -> Iterator[Claim]:
    slope, low, high = (result["rss_kib_a_minute"][key] for key in ("slope", "low", "high"))
    grown = [f"{result[what]['least']:.0f} to {result[what]['most']:.0f} {what}" for what in GROWING]
    yield Claim(
        f"{result['seconds'] / 60:.0f} minutes at half of its load, {result['calls']:,} completions: memory a minute "
        "(95% interval)",
        f"{slope:+.0f} KiB ({low:+.0f} to {high:+.0f}); {_slashed(grown)}",
        "0 or less within the interval",
        low <= 0,
        "soak",
    )


def _slashed(parts: Iterator[str] | Sequence[str] | Mapping[str, Any] | Any) -> str:
    return " / ".join(parts)


def _short(value: float) -> str:
    """Three significant digits, without an exponent."""
    if math.isinf(value):
        return "∞"
    if value >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{float(f'{value:.3g}'):g}"
