"""The policy over plain dictionaries: what policy.pyx does with structs, restated step by step.

Names stand where the kernel has numbers; costs and bars use the kernel's order of operations, so they are
equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fastpath.twins import keywords
from tests.fastpath.twins.state import Live, state_key

MAX_REASONS = 48
MAX_CHAIN = 16
# Filters in the order in which they remove deployments, as a NO_CANDIDATE error names them.
FILTERS = ("tier", "deployment", "region", "context_window", "modality", "tools", "cost")
MEDIA = {"image", "audio", "file"}

Request = Mapping[str, Any]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Judgement:
    """What classifier and exemplars say; empty where the classifier did not run.

    `p_sufficient` and `gain` are by head, `tasks` in the order of the classifier's outputs.
    """

    default_reason: str | None = None
    abstain: tuple[str, float] | None = None
    tasks: Mapping[str, float] = field(default_factory=dict)
    p_sufficient: Mapping[str, float] = field(default_factory=dict)
    gain: Mapping[str, float] = field(default_factory=dict)
    similarity: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request with everything that the policy reads besides the document."""

    fields: Request
    text: str
    features: Mapping[str, float]
    judgement: Judgement
    live: Live
    decision_id: bytes
    output_tokens: Mapping[str, float]


class Refused(Exception):
    """No decision: a reason's name and the field or filter at fault."""


@dataclass
class Candidate:
    """One tier."""

    tier: str
    p_sufficient: float | None = None
    gain: float | None = None
    estimated_cost_usd: float | None = None
    eligible: bool = False


@dataclass
class Outcome:
    """A decision."""

    status: str = "DECIDED"
    policy: str = ""
    tier: str = ""
    deployment: str = ""
    fallback_deployments: list[str] = field(default_factory=list)
    strategy: str = ""
    task: str | None = None
    task_probability: float = 0.0
    candidates: list[Candidate] = field(default_factory=list)
    reasons: list[tuple[str, str, float]] = field(default_factory=list)
    propensity: float = 1.0


@dataclass
class Effects:
    """What the rules and buckets that match ask for."""

    tier: str | None = None
    floor: str | None = None
    ceiling: str | None = None
    strategy: str | None = None
    deployment: str | None = None
    bar: float | None = None
    bar_shift: float | None = None
    forbidden: set[str] = field(default_factory=set)
    forbidden_regions: set[str] = field(default_factory=set)


def unit_random(decision_id: bytes, salt: int) -> float:
    """Uniform in [0, 1): SplitMix64's output number `salt` from the identifier's hash."""
    mask = 2**64 - 1
    value = state_key(decision_id) + salt * 0x9E3779B97F4A7C15 & mask
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ value >> 27) * 0x94D049BB133111EB & mask
    return ((value ^ value >> 31) >> 11) / 2**53


def control_draw(request: Request, decision_id: bytes) -> float:
    """Uniform in [0, 1), the same for a session, else for a tenant, else for a decision."""
    sticky = request.get("session_id", "").encode() or request.get("tenant", "").encode() or decision_id
    return (state_key(sticky) * 0x9E3779B97F4A7C15 % 2**64 >> 11) / 2**53


def needs_of(request: Request) -> set[str]:
    """Abilities that a deployment must have."""
    return set(request.get("needs", ())) | ({"tools"} if request.get("n_tools") else set())


def task_of(document: Document, policy: Document, judgement: Judgement) -> str | None:
    """The likeliest task, unless a bucket of the policy names one."""
    if not judgement.tasks:
        return None
    for bucket in document["buckets"]:
        named = bucket["effect"]["task"]
        matches = judgement.similarity[bucket["name"]] >= bucket["threshold"]
        if named and bucket["name"] in policy["buckets"] and matches:
            return str(named)
    return max(judgement.tasks, key=lambda task: judgement.tasks[task])


def _in_span(span: Mapping[str, float | None], value: float) -> bool:
    least, most = span["min"], span["max"]
    return (least is None or least <= value) and (most is None or value <= most)


def matches(rule: Document, asked: Asked, task: str | None) -> bool:
    """True if all conditions that are set hold."""
    when, request = rule["when"], asked.fields
    spans = {"tokens": when["tokens"], "request_tokens": when["request_tokens"], **when["features"]}
    conditions: list[Callable[[], bool]] = [
        lambda: all(
            request.get(key, "") in when[key] for key in ("tenant", "user_tier", "feature") if when[key]
        ),
        lambda: all(request.get("labels", {}).get(key) in values for key, values in when["labels"].items()),
        lambda: not when["keywords"] or bool(keywords.scan([when["keywords"]], asked.text)),
        lambda: (
            not when["tasks"]
            or (task in when["tasks"] and asked.judgement.tasks[task or ""] >= when["task_probability"])
        ),
        lambda: needs_of(request) >= set(when["needs"]),
        lambda: not when["answer_use"] or request.get("answer_use", "unspecified") in when["answer_use"],
        lambda: all(_in_span(span, asked.features[name]) for name, span in spans.items() if span),
    ]
    return all(condition() for condition in conditions)


class Decider:
    """One request against one document."""

    def __init__(self, document: Document, asked: Asked) -> None:
        self.document = document
        self.asked = asked
        self.request = asked.fields
        self.tiers = [tier["name"] for tier in document["tiers"]]
        self.chain = {tier["name"]: tier["chain"] for tier in document["tiers"]}
        self.head = {tier["name"]: tier["head"] for tier in document["tiers"]}
        self.effects = Effects()
        self.fitting: set[str] = set()
        self.out = Outcome()

    def run(self) -> Outcome:
        """The decision; raises Refused."""
        self.resolve()
        most = self.policy["limits"]["max_request_tokens"]
        if most is not None and self.asked.features["request_tokens"] > most:
            raise Refused("INVALID_FIELD", "messages")
        self.task = task_of(self.document, self.policy, self.asked.judgement)
        self.out.task = self.task
        self.out.task_probability = self.asked.judgement.tasks[self.task] if self.task else 0.0
        self.apply_rules()
        self.apply_buckets()
        self.fill_candidates()
        self.narrow()
        self.choose_tier()
        self.choose_deployments()
        self.out.strategy = self.effects.strategy or self.policy["strategy"]
        del self.out.reasons[MAX_REASONS:]
        return self.out

    def resolve(self) -> None:
        """Looks the request's names up."""
        request = self.request
        self.out.policy = request.get("policy") or self.document["default_policy"]
        if self.out.policy not in self.document["policies"]:
            raise Refused("UNKNOWN_POLICY", "policy")
        self.policy = self.document["policies"][self.out.policy]
        for name in ("min_tier", "max_tier"):
            if request.get(name) and request[name] not in self.tiers:
                raise Refused("UNKNOWN_TIER", f"constraints.{name}")
        self.least = self.tiers.index(request["min_tier"]) if request.get("min_tier") else 0
        self.most = self.tiers.index(request["max_tier"]) if request.get("max_tier") else len(self.tiers) - 1
        if self.least > self.most:
            raise Refused("INVALID_FIELD", "constraints.min_tier")
        deployments = {d["name"]: d["region"] for chain in self.chain.values() for d in chain}
        for kind, known in (("deployment", set(deployments)), ("region", set(deployments.values()))):
            for i, name in enumerate(request.get(f"allowed_{kind}s", ())):
                if name not in known:
                    raise Refused(f"UNKNOWN_{kind.upper()}", f"constraints.allowed_{kind}s[{i}]")

    def reason(self, kind: str, name: str, score: float = 0.0) -> None:
        """Says what acted."""
        self.out.reasons.append((kind, name, score))

    def apply_rules(self) -> None:
        """All matches are reasons; of each kind the first wins; prohibitions add up."""
        for rule in self.policy["rules"]:
            if not matches(rule, self.asked, self.task):
                continue
            self.reason("RULE", rule["name"])
            then = rule["then"]
            for kind in ("tier", "floor", "ceiling", "strategy", "deployment", "bar"):
                if getattr(self.effects, kind) is None:
                    setattr(self.effects, kind, then[kind])
            self.effects.bar_shift = self.effects.bar_shift or then["bar_shift"]
            self.effects.forbidden |= set(then["forbid_deployments"])
            self.effects.forbidden_regions |= set(then["forbid_regions"])

    def apply_buckets(self) -> None:
        """Floors rise to the highest; a tier is the first one's, behind the rules."""
        for bucket in self.document["buckets"]:
            name, effect = bucket["name"], bucket["effect"]
            similarity = self.asked.judgement.similarity.get(name, 0.0)
            if name not in self.policy["buckets"] or similarity < bucket["threshold"]:
                continue
            self.reason("BUCKET", name, similarity)
            floors = [tier for tier in (self.effects.floor, effect["floor"]) if tier]
            self.effects.floor = max(floors, key=self.tiers.index, default=None)
            self.effects.tier = self.effects.tier or effect["tier"]

    def cost(self, deployment: Document, tokens: float, answer: float) -> float | None:
        """Estimated US dollars; None without a price."""
        if deployment["price"] is None:
            return None
        price = self.document["prices"][deployment["price"]]
        live, cached = self.asked.live, 0.0
        is_warm = live.session_deployment == deployment["name"] and live.warm_tokens > 0
        if is_warm and price["cache_read_usd_per_mtok"] is not None:
            cached = min(float(live.warm_tokens), tokens)
        read = cached * (price["cache_read_usd_per_mtok"] / 1e6) if cached > 0 else 0.0
        paid = (tokens - cached) * (price["input_usd_per_mtok"] / 1e6)
        return float(paid + answer * (price["output_usd_per_mtok"] / 1e6) + read)

    def misfit(self, deployment: Document, tokens: float, answer: float, cost: float | None) -> str | None:
        """The first filter that removes a deployment."""
        request, name = self.request, deployment["name"]
        allowed, regions = request.get("allowed_deployments"), request.get("allowed_regions")
        if name in self.effects.forbidden or (allowed and name not in allowed):
            return "deployment"
        if deployment["region"] in self.effects.forbidden_regions or (
            regions and deployment["region"] not in regions
        ):
            return "region"
        window = max(tokens + answer, request.get("context_tokens", 0))
        too_long = request.get("expected_output_tokens", 0) > deployment["max_output_tokens"]
        if window > deployment["context_window"] or too_long:
            return "context_window"
        able = {ability for ability in ("json", "json_schema", "tools") if deployment[ability]}
        missing = needs_of(request) - able - set(deployment["modalities"])
        if missing:
            return "modality" if missing & MEDIA else "tools"
        most = request.get("max_cost_usd")
        if most is not None and (cost is None or cost > most):
            return "cost"
        return None

    def fill_candidates(self) -> None:
        """Which deployments fit, and which tiers could serve."""
        judgement, live = self.asked.judgement, self.asked.live
        expected = self.asked.output_tokens[self.task or "any"]
        answer = float(self.request.get("expected_output_tokens", 0) or expected)
        furthest = 0
        for t, name in enumerate(self.tiers):
            candidate = Candidate(name)
            self.out.candidates.append(candidate)
            head = self.head[name]
            if judgement.default_reason is None:
                candidate.p_sufficient = judgement.p_sufficient[head] if head else 1.0
                candidate.gain = judgement.gain[head] if head else 0.0
            fallback_cost: float | None = None
            for deployment in self.chain[name]:
                per_piece = 1.0
                if deployment["price"] is not None:
                    per_piece = self.document["prices"][deployment["price"]]["tokens_per_piece"]
                features = self.asked.features
                tokens = features["request_tokens"] * per_piece + 3 * features["messages"]
                cost = self.cost(deployment, tokens, answer)
                why = self.misfit(deployment, tokens, answer, cost)
                if why is None:
                    self.fitting.add(deployment["name"])
                    if not candidate.eligible and deployment["name"] not in live.closed:
                        candidate.eligible = True
                        candidate.estimated_cost_usd = cost
                elif self.least <= t <= self.most:
                    furthest = max(furthest, FILTERS.index(why))
                if why in (None, "cost") and fallback_cost is None:
                    fallback_cost = cost
            if not candidate.eligible:
                candidate.estimated_cost_usd = fallback_cost
        allowed = range(self.least, self.most + 1)
        if not any(self.out.candidates[t].eligible for t in allowed):
            for t in allowed:
                closed = [d["name"] for d in self.chain[self.tiers[t]] if d["name"] in self.fitting]
                self.out.candidates[t].eligible = bool(closed)
            if not any(self.out.candidates[t].eligible for t in allowed):
                raise Refused("NO_CANDIDATE", FILTERS[furthest])

    def narrow(self) -> None:
        """The tiers that may serve: the caller's range, and in it policy, rules, session and budget."""
        for name in ("min_tier", "max_tier"):
            if self.request.get(name):
                self.reason("CONSTRAINT", name)
        policy, live, top = self.policy, self.asked.live, len(self.tiers) - 1
        lows = [self.least] + [
            self.tiers.index(name) for name in (policy["min_tier"], self.effects.floor) if name
        ]
        highs = [self.most] + [
            self.tiers.index(name) for name in (policy["max_tier"], self.effects.ceiling) if name
        ]
        low, high = max(lows), min(highs)
        if policy["sessions"]["mode"] == "keep_or_raise" and live.session_tier is not None:
            kept = min(live.session_tier, top)
            if kept > low:
                low = kept
                self.reason("SESSION", self.tiers[kept])
        ceiling = policy["limits"]["budget_spent_ceiling"]
        if ceiling is not None and live.budget_spent:
            high = min(high, self.tiers.index(ceiling))
            self.reason("BUDGET", ceiling)
        self.high = min(self.most, max(self.least, high))
        self.low = min(self.high, max(self.least, low))

    def within(self, tier: str) -> int:
        """The tier, or the nearest one that the caller allows."""
        return min(self.most, max(self.least, self.tiers.index(tier)))

    def choose_tier(self) -> None:
        """A rule's tier, else the judged one, else the safe one; the nearest that can serve."""
        judgement, effects = self.asked.judgement, self.effects
        if judgement.default_reason is not None:
            self.out.status = "DEFAULTED"
            self.reason("DEFAULT", judgement.default_reason)
        elif judgement.abstain is not None:
            self.out.status = "ABSTAINED"
            self.reason("ABSTAIN", *judgement.abstain)
        if effects.deployment is not None:
            wanted = self.within(next(t for t in self.tiers if self.serves(t, effects.deployment)))
        elif effects.tier is not None:
            wanted = self.within(effects.tier)
        elif self.out.status == "DECIDED":
            wanted = self.judged_tier()
        else:
            wanted = min(self.high, max(self.low, self.tiers.index(self.policy["safe_tier"])))
        chosen = self.nearest(wanted)
        if chosen != wanted:
            self.reason("FIT", self.tiers[wanted])
        if self.policy["sessions"]["mode"] == "keep_while_warm" and not (effects.deployment or effects.tier):
            chosen = self.keep_warm(chosen)
        if effects.deployment is None and effects.tier is None and self.out.status == "DECIDED":
            chosen = self.randomise(chosen)
        self.out.tier = self.tiers[chosen]

    def serves(self, tier: str, deployment: str) -> bool:
        """True if the tier's chain has the deployment."""
        return any(d["name"] == deployment for d in self.chain[tier])

    def bar(self, tier: str) -> float:
        """The request's bar; else, shifted, that of rule, tenant, task, tier, or the default."""
        if self.request.get("quality_bar") is not None:
            return float(self.request["quality_bar"])
        bars = self.policy["bars"]
        bar = bars["tiers"].get(tier, bars["default"])
        by_task = bars["tasks"].get(self.task, bar)
        bar = by_task.get(tier, bar) if isinstance(by_task, dict) else by_task
        if self.request.get("tenant"):
            bar = bars["tenants"].get(self.request["tenant"], bar)
        if self.effects.bar is not None:
            bar = self.effects.bar
        return float(min(1.0, max(0.0, bar + (self.effects.bar_shift or 0.0))))

    def judged_tier(self) -> int:
        """The cheapest tier in range that reaches its bar, else the range's top."""
        best = 0.0
        for t in range(self.low, self.high + 1):
            candidate = self.out.candidates[t]
            if self.head[candidate.tier] is None:
                break
            if not candidate.eligible:
                continue
            assert candidate.p_sufficient is not None
            assert candidate.gain is not None
            best = max(best, candidate.p_sufficient)
            most_gain = self.policy["bars"]["max_gain"].get(candidate.tier, float("inf"))
            if candidate.p_sufficient >= self.bar(candidate.tier) and candidate.gain <= most_gain:
                self.reason("BAR", candidate.tier, candidate.p_sufficient)
                return t
        self.reason("BELOW_BAR", self.tiers[self.high], best)
        return self.high

    def nearest(self, wanted: int) -> int:
        """The wanted tier, else the next higher, else the next lower; in range if one there can serve."""
        order: list[int] = [*range(wanted, len(self.tiers)), *range(wanted - 1, -1, -1)]
        able = [t for t in order if self.least <= t <= self.most and self.out.candidates[t].eligible]
        inside = [t for t in able if self.low <= t <= self.high]
        return inside[0] if inside and self.low <= wanted <= self.high else able[0]

    def first_of(self, t: int) -> str | None:
        """The deployment that would serve in a tier: the first that fits and is healthy, else, as a last resort, fits."""
        fits = [d["name"] for d in self.chain[self.tiers[t]] if d["name"] in self.fitting]
        healthy = [name for name in fits if name not in self.asked.live.closed]
        return next(iter(healthy or fits), None) if self.out.candidates[t].eligible else None

    def keep_warm(self, chosen: int) -> int:
        """The session's dearer tier, if its warm deployment would serve there and the request costs no more there."""
        live, candidates = self.asked.live, self.out.candidates
        if live.session_tier is None or live.session_deployment is None or not live.warm_tokens:
            return chosen
        kept = min(live.session_tier, len(self.tiers) - 1)
        if not chosen < kept <= self.high or self.first_of(kept) != live.session_deployment:
            return chosen
        there, here = candidates[kept].estimated_cost_usd, candidates[chosen].estimated_cost_usd
        if there is None or here is None or there > here:
            return chosen
        self.reason("SESSION", self.tiers[kept])
        return kept

    def randomise(self, base: int) -> int:
        """The control arm, then exploration."""
        control, explore = self.policy["control_share"], self.policy["explore"]
        able = [t for t in range(self.low, self.high + 1) if self.out.candidates[t].eligible]
        others = [t for t in able if t != base]
        if not others or (control <= 0 and explore <= 0):
            return base
        chosen, top, decision_id = base, able[-1], self.asked.decision_id
        if control_draw(self.request, decision_id) < control:
            chosen = top
            self.reason("CONTROL", self.tiers[top], control)
        elif unit_random(decision_id, 1) < explore:
            chosen = others[int(unit_random(decision_id, 2) * len(others))]
            self.reason("EXPLORE", self.tiers[chosen], explore / len(others))
        share = (1 - explore) if chosen == base else explore / len(others)
        self.out.propensity = (1 - control) * share + (control if chosen == top else 0.0)
        return chosen

    def choose_deployments(self) -> None:
        """The rule's deployment if it can serve, then the chain in order, closed ones last."""
        closed = self.asked.live.closed
        names = [d["name"] for d in self.chain[self.out.tier] if d["name"] in self.fitting]
        is_open = [name for name in names if name not in closed]
        first = [name for name in is_open if name == self.effects.deployment]
        order = first + [name for name in is_open if name not in first]
        for name in names:
            if name in closed:
                order.append(name)
                self.reason("HEALTH", name)
        self.out.deployment = order[0]
        self.out.fallback_deployments = order[1 : 1 + MAX_CHAIN]


def decide(document: Document, asked: Asked) -> Outcome:
    """The decision that a document makes; raises Refused where there is none."""
    return Decider(document, asked).run()


def reason_kinds(outcome: Outcome) -> Sequence[str]:
    """Kinds of the reasons, in order."""
    return [kind for kind, _, _ in outcome.reasons]
