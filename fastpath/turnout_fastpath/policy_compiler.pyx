"""Turns a resolved policy document into the structs that policy.pyx decides with."""

import hashlib
import json

from libc.math cimport INFINITY, NAN
from libc.stdint cimport int32_t, uint32_t, uint64_t

from turnout_fastpath.core cimport *
from turnout_fastpath.keywords cimport KeywordAutomaton
from turnout_fastpath.policy cimport *


class PolicyError(ValueError):
    pass


STRATEGIES = {"single": 1, "cascade": 2, "ensemble": 3}
NEEDS = {"json": NEED_JSON, "json_schema": NEED_JSON_SCHEMA, "tools": NEED_TOOLS, "image": NEED_IMAGE,
         "audio": NEED_AUDIO, "file": NEED_FILE}
MODALITIES = {"text": 0, "image": NEED_IMAGE, "audio": NEED_AUDIO, "file": NEED_FILE}
ANSWER_USES = {"unspecified": 0, "person": 1, "program": 2, "prompt": 3, "action": 4}
SESSION_MODES = {"none": SESSION_FORGOTTEN, "keep_or_raise": SESSION_KEPT,
                 "keep_while_warm": SESSION_KEPT_WARM}
CALLER_CONDITIONS = {"tenant": CONDITION_TENANT, "user_tier": CONDITION_USER_TIER, "feature": CONDITION_CALLER_FEATURE}


def find(str path, str kind, name, names):
    """Number of `name` in `names`; an error that lists what there is."""
    if name not in names:
        raise PolicyError(f"{path}: no {kind} {name!r}; known: {', '.join(names) or 'none'}")
    return names.index(name)


def value_of(str path, str kind, name, values):
    """The value of `name` in a mapping; an error that lists what there is."""
    find(path, kind, name, list(values))
    return values[name]


def check_count(str path, int n, int limit):
    if n > limit:
        raise PolicyError(f"{path}: {n} entries, limit: {limit}")


cdef double number(value, double otherwise):
    return otherwise if value is None else float(value)


cdef class Compiler:
    """One run over a document; `out` grows as it goes."""

    cdef PolicySet out
    cdef dict document
    cdef list heads, tasks, features
    cdef dict exemplar_sets
    cdef list conditions, strings, keyword_groups, rules, tenant_bars

    def __init__(self, document, heads, tasks, features, output_tokens, exemplar_sets):
        self.out = PolicySet()
        self.document = dict(document)
        self.heads, self.tasks, self.features = list(heads), list(tasks), list(features)
        self.exemplar_sets = dict(exemplar_sets)
        self.conditions, self.strings, self.keyword_groups = [], [], []
        self.rules, self.tenant_bars = [], []
        check_count("bundle heads", len(self.heads), MAX_TIERS)
        check_count("bundle tasks", len(self.tasks), MAX_TASKS)
        self.out.c.n_tasks = len(self.tasks)
        self.out.c.any_output_tokens = output_tokens["any"]
        for i, task in enumerate(self.tasks):
            self.out.c.output_tokens[i] = output_tokens[task]

    def run(self):
        self.compile_tiers()
        self.compile_buckets()
        self.compile_policies()
        self.lay_out()
        canonical = json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        self.out.revision = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
        self.out.document = self.document
        return self.out

    def tier(self, path, name):
        return NONE if name is None else find(path, "tier", name, self.out.tier_names)

    def compile_tiers(self):
        cdef PolicySet out = self.out
        cdef tier_t* tier
        cdef deployment_t* deployment
        tiers = self.document["tiers"]
        check_count("tiers", len(tiers), MAX_TIERS)
        out.tier_names = [tier_["name"] for tier_ in tiers]
        out.deployment_names = [d["name"] for tier_ in tiers for d in tier_["chain"]]
        out.region_names = sorted({d["region"] for tier_ in tiers for d in tier_["chain"]})
        check_count("tiers: deployments", len(out.deployment_names), MAX_DEPLOYMENTS)
        check_count("tiers: regions", len(out.region_names), MAX_REGIONS)
        out.c.n_tiers = len(tiers)
        out.c.n_deployments = len(out.deployment_names)
        out.c.n_regions = len(out.region_names)
        for i, name in enumerate(out.region_names):
            out.c.regions[i] = out.text(name)
        at = 0
        used_head = -1
        for i, given in enumerate(tiers):
            path = f"tiers[{i}]"
            tier = &out.c.tiers[i]
            tier.name = out.text(given["name"])
            tier.first_deployment = at
            tier.n_deployments = len(given["chain"])
            tier.head = NONE
            if i < len(tiers) - 1:
                if given["head"] is None:
                    raise PolicyError(f"{path}.head: tier {given['name']!r} has no head; known: {', '.join(self.heads)}")
                tier.head = find(f"{path}.head", "head", given["head"], self.heads)
                if tier.head <= used_head:
                    raise PolicyError(
                        f"{path}.head: {given['head']!r} does not follow {self.heads[used_head]!r}; a dearer tier "
                        f"needs a later head of: {', '.join(self.heads)}")
                used_head = tier.head
            elif given["head"] is not None:
                raise PolicyError(f"{path}.head: the top tier {given['name']!r} has no head, given: {given['head']!r}")
            for j, d in enumerate(given["chain"]):
                deployment = &out.c.deployments[at]
                deployment.name = out.text(d["name"])
                deployment.tier = i
                deployment.region = out.region_names.index(d["region"])
                deployment.abilities = self.abilities(f"{path}.chain[{j}]", d)
                deployment.context_window = d["context_window"]
                deployment.max_output_tokens = d["max_output_tokens"]
                self.compile_price(f"{path}.chain[{j}].price", d["price"], at)
                at += 1

    def abilities(self, path, d):
        mask = 0
        for flag in ("json", "json_schema", "tools"):
            if d[flag]:
                mask |= NEEDS[flag]
        for i, modality in enumerate(d["modalities"]):
            mask |= value_of(f"{path}.modalities[{i}]", "modality", modality, MODALITIES)
        return mask

    def compile_price(self, path, key, int at):
        cdef deployment_t* deployment = &self.out.c.deployments[at]
        deployment.tokens_per_piece = 1
        deployment.input_usd = deployment.output_usd = deployment.cache_read_usd = NAN
        if key is None:
            return
        price = value_of(path, "price", key, self.document["prices"])
        deployment.tokens_per_piece = price["tokens_per_piece"]
        deployment.input_usd = price["input_usd_per_mtok"] / 1e6
        deployment.output_usd = price["output_usd_per_mtok"] / 1e6
        deployment.cache_read_usd = number(price["cache_read_usd_per_mtok"], NAN) / 1e6

    def compile_buckets(self):
        cdef PolicySet out = self.out
        cdef bucket_t* bucket
        buckets = self.document["buckets"]
        check_count("buckets", len(buckets), MAX_BUCKETS)
        out.bucket_names = [b["name"] for b in buckets]
        out.bucket_exemplars = []
        out.c.n_buckets = len(buckets)
        out.c.buckets = <bucket_t*> out.block(len(buckets) * sizeof(bucket_t))
        at = 0
        for i, given in enumerate(buckets):
            path = f"buckets[{i}]"
            texts = list(given["exemplars"])
            if given["exemplar_set"] is not None:
                texts += value_of(f"{path}.exemplar_set", "exemplar set", given["exemplar_set"], self.exemplar_sets)
            if not texts:
                raise PolicyError(f"{path}: no exemplars")
            out.bucket_exemplars.append(texts)
            bucket = &out.c.buckets[i]
            bucket.name = out.text(given["name"])
            bucket.first_vector = at
            bucket.n_vectors = len(texts)
            bucket.threshold = given["threshold"]
            bucket.floor = self.tier(f"{path}.effect.floor", given["effect"]["floor"])
            bucket.tier = self.tier(f"{path}.effect.tier", given["effect"]["tier"])
            bucket.task = NONE
            if given["effect"]["task"] is not None:
                bucket.task = find(f"{path}.effect.task", "task", given["effect"]["task"], self.tasks)
            at += len(texts)

    def compile_policies(self):
        cdef PolicySet out = self.out
        cdef policy_t* policy
        policies = self.document["policies"]
        check_count("policies", len(policies), MAX_POLICIES)
        out.policy_names = list(policies)
        out.rule_names = []
        out.c.n_policies = len(policies)
        out.c.policies = <policy_t*> out.block(len(policies) * sizeof(policy_t))
        out.c.default_policy = find("default_policy", "policy", self.document["default_policy"], out.policy_names)
        for i, (name, given) in enumerate(policies.items()):
            path = f"policies.{name}"
            policy = &out.c.policies[i]
            policy.name = out.text(name)
            policy.safe_tier = self.tier(f"{path}.safe_tier", given["safe_tier"])
            policy.strategy = value_of(f"{path}.strategy", "strategy", given["strategy"], STRATEGIES)
            policy.min_tier = max(0, self.tier(f"{path}.min_tier", given["min_tier"]))
            policy.max_tier = self.tier(f"{path}.max_tier", given["max_tier"])
            if policy.max_tier == NONE:
                policy.max_tier = out.c.n_tiers - 1
            if policy.min_tier > policy.max_tier:
                raise PolicyError(f"{path}.min_tier: {given['min_tier']!r} is above max_tier {given['max_tier']!r}")
            policy.sessions = value_of(f"{path}.sessions.mode", "mode", given["sessions"]["mode"], SESSION_MODES)
            policy.budget_ceiling = self.tier(f"{path}.limits.budget_spent_ceiling",
                                              given["limits"]["budget_spent_ceiling"])
            policy.max_request_tokens = number(given["limits"]["max_request_tokens"], INFINITY)
            policy.explore = given["explore"]
            policy.control_share = given["control_share"]
            policy.buckets = 0
            for j, bucket in enumerate(given["buckets"]):
                policy.buckets |= <uint64_t> 1 << <int> find(f"{path}.buckets[{j}]", "bucket", bucket, out.bucket_names)
            self.compile_bars(f"{path}.bars", given["bars"], i)
            policy.first_rule = len(self.rules)
            policy.n_rules = len(given["rules"])
            for j, rule in enumerate(given["rules"]):
                self.compile_rule(f"{path}.rules[{j}]", rule)

    def compile_bars(self, path, given, int at):
        cdef policy_t* policy = &self.out.c.policies[at]
        cdef int t, k
        names = self.out.tier_names
        for t in range(self.out.c.n_tiers):
            for k in range(MAX_TASKS):
                policy.bars[t][k] = given["default"]
            policy.max_gain[t] = INFINITY
        for name, bar in given["tiers"].items():
            t = find(f"{path}.tiers", "tier", name, names)
            for k in range(MAX_TASKS):
                policy.bars[t][k] = bar
        for name, bar in given["tasks"].items():
            k = find(f"{path}.tasks", "task", name, self.tasks)
            by_tier = bar if isinstance(bar, dict) else {tier: bar for tier in names}
            for tier, value in by_tier.items():
                policy.bars[<int> find(f"{path}.tasks.{name}", "tier", tier, names)][k] = value
        for name, gain in given["max_gain"].items():
            policy.max_gain[<int> find(f"{path}.max_gain", "tier", name, names)] = gain
        policy.first_tenant_bar = len(self.tenant_bars)
        policy.n_tenant_bars = len(given["tenants"])
        self.tenant_bars.extend(given["tenants"].items())

    def add_condition(self, kind, *, index=0, low=0.0, high=0.0, mask=0, strings=()):
        self.conditions.append((kind, index, low, high, mask, len(self.strings), len(strings)))
        self.strings.extend(strings)

    def compile_rule(self, path, given):
        first = len(self.conditions)
        when, then = given["when"], given["then"]
        for key, kind in CALLER_CONDITIONS.items():
            if when[key]:
                self.add_condition(kind, strings=when[key])
        for key, values in when["labels"].items():
            self.add_condition(CONDITION_LABEL, strings=[key, *values])
        if when["keywords"]:
            for j, phrase in enumerate(when["keywords"]):
                if not phrase.split():
                    raise PolicyError(f"{path}.when.keywords[{j}]: an empty phrase")
            self.add_condition(CONDITION_KEYWORDS, index=len(self.keyword_groups))
            self.keyword_groups.append(when["keywords"])
        if when["tasks"]:
            mask = 0
            for j, task in enumerate(when["tasks"]):
                mask |= 1 << <int> find(f"{path}.when.tasks[{j}]", "task", task, self.tasks)
            self.add_condition(CONDITION_TASK, mask=mask, low=when["task_probability"])
        if when["needs"]:
            mask = 0
            for j, need in enumerate(when["needs"]):
                mask |= value_of(f"{path}.when.needs[{j}]", "need", need, NEEDS)
            self.add_condition(CONDITION_NEEDS, mask=mask)
        if when["answer_use"]:
            mask = 0
            for j, use in enumerate(when["answer_use"]):
                mask |= 1 << <int> value_of(f"{path}.when.answer_use[{j}]", "use", use, ANSWER_USES)
            self.add_condition(CONDITION_ANSWER_USE, mask=mask)
        for name, span in {"tokens": when["tokens"], "request_tokens": when["request_tokens"], **when["features"]}.items():
            if span is None:
                continue
            index = find(f"{path}.when.features", "feature", name, self.features)
            self.add_condition(CONDITION_FEATURE, index=index, low=number(span["min"], -INFINITY),
                               high=number(span["max"], INFINITY))
        names = self.out.deployment_names
        self.rules.append((
            given["name"], first, len(self.conditions) - first,
            self.tier(f"{path}.then.tier", then["tier"]),
            self.tier(f"{path}.then.floor", then["floor"]),
            self.tier(f"{path}.then.ceiling", then["ceiling"]),
            NONE if then["strategy"] is None
            else value_of(f"{path}.then.strategy", "strategy", then["strategy"], STRATEGIES),
            NONE if then["deployment"] is None
            else find(f"{path}.then.deployment", "deployment", then["deployment"], names),
            number(then["bar"], NAN),
            number(then["bar_shift"], 0.0),
            [find(f"{path}.then.forbid_regions[{j}]", "region", r, self.out.region_names)
             for j, r in enumerate(then["forbid_regions"])],
            [find(f"{path}.then.forbid_deployments[{j}]", "deployment", d, names)
             for j, d in enumerate(then["forbid_deployments"])],
        ))
        self.out.rule_names.append(given["name"])

    def lay_out(self):
        """Moves what was collected into the structs."""
        cdef PolicySet out = self.out
        cdef rule_t* rule
        cdef condition_t* condition
        cdef int i, d
        try:
            out.keywords = KeywordAutomaton(self.keyword_groups)
        except ValueError as error:
            raise PolicyError(f"policies: {error}") from error
        out.c.strings = <slice_t*> out.block(len(self.strings) * sizeof(slice_t))
        for i in range(len(self.strings)):
            out.c.strings[i] = out.text(self.strings[i])
        out.c.tenant_bars = <tenant_bar_t*> out.block(len(self.tenant_bars) * sizeof(tenant_bar_t))
        for i in range(len(self.tenant_bars)):
            out.c.tenant_bars[i].tenant = out.text(self.tenant_bars[i][0])
            out.c.tenant_bars[i].bar = self.tenant_bars[i][1]
        out.c.conditions = <condition_t*> out.block(len(self.conditions) * sizeof(condition_t))
        for i in range(len(self.conditions)):
            condition = &out.c.conditions[i]
            (condition.kind, condition.index, condition.low, condition.high, condition.mask, condition.first_string,
             condition.n_strings) = self.conditions[i]
        out.c.n_rules = len(self.rules)
        out.c.rules = <rule_t*> out.block(len(self.rules) * sizeof(rule_t))
        for i in range(len(self.rules)):
            rule = &out.c.rules[i]
            (name, rule.first_condition, rule.n_conditions, rule.tier, rule.floor, rule.ceiling, rule.strategy,
             rule.deployment, rule.bar, rule.bar_shift, regions, deployments) = self.rules[i]
            rule.name = out.text(name)
            for d in regions:
                rule.forbidden_regions |= <uint64_t> 1 << d
            for d in deployments:
                rule.forbidden[d >> 6] |= <uint64_t> 1 << (d & 63)


def compile_policy(document, *, heads, tasks, features, output_tokens, exemplar_sets):
    compiler = Compiler(document, heads, tasks, features, output_tokens, exemplar_sets)
    try:
        return compiler.run()
    except KeyError as error:
        raise PolicyError(f"the document has no key {error}; a resolved document has every key") from error
