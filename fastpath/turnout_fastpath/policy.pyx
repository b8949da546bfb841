"""The policy as numbers: what a request allows, what the rules say, which tier reaches its bar."""

from libc.math cimport INFINITY, NAN, isnan
from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset
from cpython.bytearray cimport PyByteArray_AS_STRING

from turnout_fastpath.core cimport *
from turnout_fastpath.state cimport state_key


cdef inline int same(slice_t a, slice_t b) noexcept nogil:
    return a.size == b.size and (a.size == 0 or memcmp(a.data, b.data, a.size) == 0)


cdef inline int has_bit(const uint64_t* words, int i) noexcept nogil:
    return <int> (words[i >> 6] >> (i & 63)) & 1


cdef inline double unit_random(const uint8_t* decision_id, uint64_t salt) noexcept nogil:
    """Uniform in [0, 1), from a decision's identifier; independent for each salt (SplitMix64)."""
    cdef uint64_t h = state_key(<const char*> decision_id, 16) + salt * <uint64_t> 0x9E3779B97F4A7C15
    h = (h ^ (h >> 30)) * <uint64_t> 0xBF58476D1CE4E5B9
    h = (h ^ (h >> 27)) * <uint64_t> 0x94D049BB133111EB
    return <double> ((h ^ (h >> 31)) >> 11) / 9007199254740992.0


cdef inline int fail(fault_t* fault, int code, int field, int index) noexcept nogil:
    fault.code = code
    fault.field = field
    fault.index = index
    return code


cdef int find_tier(const policy_set_t* policies, slice_t name) noexcept nogil:
    cdef int i
    for i in range(policies.n_tiers):
        if same(policies.tiers[i].name, name):
            return i
    return NONE


cdef int policy_resolve(const policy_set_t* policies, const request_t* request, resolved_t* resolved,
                        fault_t* fault) noexcept nogil:
    cdef int i, d, found
    resolved.policy = policies.default_policy
    if request.policy.size:
        resolved.policy = NONE
        for i in range(policies.n_policies):
            if same(policies.policies[i].name, request.policy):
                resolved.policy = i
                break
        if resolved.policy == NONE:
            return fail(fault, FAULT_UNKNOWN_POLICY, FIELD_POLICY, NONE)
    resolved.min_tier = NONE
    resolved.max_tier = NONE
    if request.min_tier.size:
        resolved.min_tier = find_tier(policies, request.min_tier)
        if resolved.min_tier == NONE:
            return fail(fault, FAULT_UNKNOWN_TIER, FIELD_MIN_TIER, NONE)
    if request.max_tier.size:
        resolved.max_tier = find_tier(policies, request.max_tier)
        if resolved.max_tier == NONE:
            return fail(fault, FAULT_UNKNOWN_TIER, FIELD_MAX_TIER, NONE)
        if resolved.min_tier > resolved.max_tier:
            fault.value = resolved.min_tier
            fault.limit = resolved.max_tier
            return fail(fault, FAULT_INVALID_FIELD, FIELD_MIN_TIER, NONE)
    memset(resolved.allowed, 0, sizeof(resolved.allowed))
    resolved.any_deployment = request.n_allowed_deployments == 0
    for i in range(request.n_allowed_deployments):
        found = NONE
        for d in range(policies.n_deployments):
            if same(policies.deployments[d].name, request.allowed_deployments[i]):
                found = d
                break
        if found == NONE:
            return fail(fault, FAULT_UNKNOWN_DEPLOYMENT, FIELD_ALLOWED_DEPLOYMENTS, i)
        resolved.allowed[found >> 6] |= <uint64_t> 1 << (found & 63)
    resolved.regions = 0 if request.n_allowed_regions else ~<uint64_t> 0
    for i in range(request.n_allowed_regions):
        found = NONE
        for d in range(policies.n_regions):
            if same(policies.regions[d], request.allowed_regions[i]):
                found = d
                break
        if found == NONE:
            return fail(fault, FAULT_UNKNOWN_REGION, FIELD_ALLOWED_REGIONS, i)
        resolved.regions |= <uint64_t> 1 << found
    return 0


cdef int condition_holds(const policy_set_t* policies, const condition_t* condition, const request_t* request,
                         const judgement_t* judgement, const float* features, const uint64_t* keywords) noexcept nogil:
    cdef int i, kind = condition.kind
    cdef slice_t given
    if kind == CONDITION_FEATURE:
        return condition.low <= features[condition.index] <= condition.high
    if kind == CONDITION_KEYWORDS:
        return has_bit(keywords, condition.index)
    if kind == CONDITION_TASK:
        return (judgement.task != NONE and (condition.mask >> judgement.task) & 1
                and judgement.tasks[judgement.task] >= condition.low)
    if kind == CONDITION_NEEDS:
        return (request.needs & condition.mask) == condition.mask
    if kind == CONDITION_ANSWER_USE:
        return <int> (condition.mask >> request.answer_use) & 1
    if kind == CONDITION_LABEL:
        for i in range(request.n_labels):
            if same(request.labels[i].key, policies.strings[condition.first_string]):
                given = request.labels[i].value
                break
        else:
            return 0
        for i in range(1, condition.n_strings):
            if same(given, policies.strings[condition.first_string + i]):
                return 1
        return 0
    if kind == CONDITION_TENANT:
        given = request.tenant
    elif kind == CONDITION_USER_TIER:
        given = request.user_tier
    else:
        given = request.feature
    for i in range(condition.n_strings):
        if same(given, policies.strings[condition.first_string + i]):
            return 1
    return 0


cdef void add_reason(decision_t* decision, int kind, int index, double score) noexcept nogil:
    if decision.n_reasons < MAX_REASONS:
        decision.reasons[decision.n_reasons].kind = kind
        decision.reasons[decision.n_reasons].index = index
        decision.reasons[decision.n_reasons].score = score
        decision.n_reasons += 1


# What the rules and buckets that match ask for; the first match of each kind wins, prohibitions add up.
cdef struct effects_t:
    int32_t tier
    int32_t floor
    int32_t ceiling
    int32_t strategy
    int32_t deployment
    double bar
    double bar_shift
    int32_t has_shift
    uint64_t forbidden_regions
    uint64_t[DEPLOYMENT_WORDS] forbidden


cdef void apply_rules(const policy_set_t* policies, const policy_t* policy, const request_t* request,
                      const judgement_t* judgement, const float* features, const uint64_t* keywords,
                      effects_t* effects, decision_t* decision) noexcept nogil:
    cdef int r, c, w, holds
    cdef const rule_t* rule
    for r in range(policy.first_rule, policy.first_rule + policy.n_rules):
        rule = &policies.rules[r]
        holds = 1
        for c in range(rule.first_condition, rule.first_condition + rule.n_conditions):
            if not condition_holds(policies, &policies.conditions[c], request, judgement, features, keywords):
                holds = 0
                break
        if not holds:
            continue
        add_reason(decision, REASON_RULE, r, 0)
        if effects.tier == NONE:
            effects.tier = rule.tier
        if effects.floor == NONE:
            effects.floor = rule.floor
        if effects.ceiling == NONE:
            effects.ceiling = rule.ceiling
        if effects.strategy == NONE:
            effects.strategy = rule.strategy
        if effects.deployment == NONE:
            effects.deployment = rule.deployment
        if isnan(effects.bar):
            effects.bar = rule.bar
        if not effects.has_shift and rule.bar_shift != 0:
            effects.bar_shift = rule.bar_shift
            effects.has_shift = 1
        effects.forbidden_regions |= rule.forbidden_regions
        for w in range(DEPLOYMENT_WORDS):
            effects.forbidden[w] |= rule.forbidden[w]


cdef void apply_buckets(const policy_set_t* policies, const policy_t* policy, const judgement_t* judgement,
                        effects_t* effects, decision_t* decision) noexcept nogil:
    cdef int b
    cdef const bucket_t* bucket
    for b in range(policies.n_buckets):
        bucket = &policies.buckets[b]
        if not (policy.buckets >> b) & 1 or judgement.similarity[b] < bucket.threshold:
            continue
        add_reason(decision, REASON_BUCKET, b, judgement.similarity[b])
        if bucket.floor != NONE and bucket.floor > effects.floor:
            effects.floor = bucket.floor
        if effects.tier == NONE:
            effects.tier = bucket.tier


# The first filter that a deployment fails, as CONSTRAINT_...; NONE if it fits. The order is the order of the filters,
# so the furthest value over the tiers that the caller allows names the constraint that removed the last candidate.
cdef int misfit(const deployment_t* deployment, int d, const request_t* request, const resolved_t* resolved,
                const effects_t* effects, double input_tokens, double output_tokens, double cost) noexcept nogil:
    cdef double window
    cdef uint32_t missing
    if has_bit(effects.forbidden, d) or not (resolved.any_deployment or has_bit(resolved.allowed, d)):
        return CONSTRAINT_DEPLOYMENT
    if (effects.forbidden_regions >> deployment.region) & 1 or not (resolved.regions >> deployment.region) & 1:
        return CONSTRAINT_REGION
    window = input_tokens + output_tokens
    if request.context_tokens > window:
        window = request.context_tokens
    if window > deployment.context_window or request.expected_output_tokens > deployment.max_output_tokens:
        return CONSTRAINT_CONTEXT_WINDOW
    missing = request.needs & ~deployment.abilities
    if missing & (NEED_IMAGE | NEED_AUDIO | NEED_FILE):
        return CONSTRAINT_MODALITY
    if missing:
        return CONSTRAINT_TOOLS
    if not isnan(request.max_cost_usd) and not cost <= request.max_cost_usd:
        return CONSTRAINT_COST
    return NONE


cdef double estimate_cost(const deployment_t* deployment, double input_tokens, double output_tokens,
                          double warm_tokens) noexcept nogil:
    cdef double cached = 0
    if isnan(deployment.input_usd):
        return NAN
    if warm_tokens > 0 and not isnan(deployment.cache_read_usd):
        cached = min(warm_tokens, input_tokens)
    return ((input_tokens - cached) * deployment.input_usd + output_tokens * deployment.output_usd
            + (cached * deployment.cache_read_usd if cached > 0 else 0.0))


# Which deployments of each tier fit; a candidate's `deployment` is the first that is healthy. Returns the furthest
# filter that a deployment of the tiers from `least` to `most` failed.
cdef int fill_candidates(const policy_set_t* policies, const request_t* request, const resolved_t* resolved,
                         const judgement_t* judgement, const live_t* live, const float* features,
                         const effects_t* effects, int least, int most, uint64_t* fitting,
                         decision_t* decision) noexcept nogil:
    cdef int t, d, why, furthest = CONSTRAINT_MIN_TIER
    cdef double pieces = features[TEXT_FEATURES + CONTEXT_REQUEST_TOKENS]
    cdef double turns = features[TEXT_FEATURES + CONTEXT_MESSAGES]
    cdef double input_tokens, output_tokens, cost
    cdef const deployment_t* deployment
    cdef candidate_t* candidate
    output_tokens = request.expected_output_tokens
    if output_tokens == 0:
        output_tokens = (policies.any_output_tokens if judgement.task == NONE
                         else policies.output_tokens[judgement.task])
    for t in range(policies.n_tiers):
        candidate = &decision.candidates[t]
        candidate.deployment = NONE
        candidate.eligible = 0
        candidate.estimated_cost_usd = NAN
        candidate.p_sufficient = NAN
        candidate.gain = NAN
        if judgement.judged:
            if policies.tiers[t].head == NONE:
                candidate.p_sufficient = 1
                candidate.gain = 0
            else:
                candidate.p_sufficient = judgement.p_sufficient[policies.tiers[t].head]
                candidate.gain = judgement.gain[policies.tiers[t].head]
        for d in range(policies.tiers[t].first_deployment,
                       policies.tiers[t].first_deployment + policies.tiers[t].n_deployments):
            deployment = &policies.deployments[d]
            # Three tokens a message carry its role (OpenAI's and Anthropic's published counts are 3 to 4).
            input_tokens = pieces * deployment.tokens_per_piece + 3 * turns
            cost = estimate_cost(deployment, input_tokens, output_tokens,
                                 live.warm_tokens if live.session_deployment == d else 0)
            why = misfit(deployment, d, request, resolved, effects, input_tokens, output_tokens, cost)
            if why != NONE:
                if least <= t <= most:
                    furthest = max(furthest, why)
                if isnan(candidate.estimated_cost_usd) and why == CONSTRAINT_COST:
                    candidate.estimated_cost_usd = cost
                continue
            fitting[d >> 6] |= <uint64_t> 1 << (d & 63)
            if candidate.deployment == NONE:
                if not has_bit(live.closed, d):
                    candidate.deployment = d
                    candidate.eligible = 1
                    candidate.estimated_cost_usd = cost
                elif isnan(candidate.estimated_cost_usd):
                    candidate.estimated_cost_usd = cost
    return furthest


# A session stays in a dearer tier whose deployment's cache is warm while the request costs no more there than in the
# tier that would serve it; costs of candidates count the warm tokens.
cdef void keep_warm_tier(const policy_set_t* policies, const live_t* live, int high, decision_t* decision) noexcept nogil:
    cdef int kept = live.session_tier
    if kept == NONE or live.session_deployment == NONE or live.warm_tokens == 0:
        return
    kept = min(kept, policies.n_tiers - 1)
    if not decision.tier < kept <= high or decision.candidates[kept].deployment != live.session_deployment:
        return
    if decision.candidates[kept].estimated_cost_usd <= decision.candidates[decision.tier].estimated_cost_usd:
        decision.tier = kept
        add_reason(decision, REASON_SESSION, kept, 0)


cdef double bar_of(const policy_set_t* policies, const policy_t* policy, const request_t* request,
                   const judgement_t* judgement, const effects_t* effects, int tier) noexcept nogil:
    cdef int i
    cdef double bar
    if not isnan(request.quality_bar):
        return request.quality_bar
    bar = effects.bar
    if isnan(bar):
        bar = policy.bars[tier][judgement.task]
        if request.tenant.size:
            for i in range(policy.first_tenant_bar, policy.first_tenant_bar + policy.n_tenant_bars):
                if same(policies.tenant_bars[i].tenant, request.tenant):
                    bar = policies.tenant_bars[i].bar
                    break
    return min(1.0, max(0.0, bar + effects.bar_shift))


cdef int nearest_eligible(const policy_set_t* policies, decision_t* decision, int wanted, int low, int high) noexcept nogil:
    """The wanted tier, else the next higher, else the next lower with a deployment that can serve; NONE if none."""
    cdef int t
    for t in range(wanted, high + 1):
        if decision.candidates[t].eligible:
            return t
    for t in range(wanted - 1, low - 1, -1):
        if decision.candidates[t].eligible:
            return t
    return NONE


cdef int judged_tier(const policy_set_t* policies, const policy_t* policy, const request_t* request,
                     const judgement_t* judgement, const effects_t* effects, int low, int high,
                     decision_t* decision) noexcept nogil:
    """The cheapest tier from `low` to `high` that reaches its bar, else `high`."""
    cdef int t
    cdef double best = 0
    cdef candidate_t* candidate
    for t in range(low, high + 1):
        candidate = &decision.candidates[t]
        if policies.tiers[t].head == NONE:
            break
        if not candidate.eligible:
            continue
        best = max(best, candidate.p_sufficient)
        if (candidate.p_sufficient >= bar_of(policies, policy, request, judgement, effects, t)
                and candidate.gain <= policy.max_gain[t]):
            add_reason(decision, REASON_BAR, t, candidate.p_sufficient)
            return t
    add_reason(decision, REASON_BELOW_BAR, high, best)
    return high


cdef void randomise(const policy_set_t* policies, const policy_t* policy, const request_t* request, int low, int high,
                    decision_t* decision) noexcept nogil:
    """The control arm and exploration; sets the tier and its propensity."""
    cdef int t, others = 0, top = NONE, base = decision.tier, chosen = decision.tier, wanted
    cdef double control = policy.control_share
    cdef double explore = policy.explore
    cdef double draw
    cdef slice_t sticky
    decision.propensity = 1
    if control <= 0 and explore <= 0:
        return
    for t in range(low, high + 1):
        if decision.candidates[t].eligible:
            top = t
            if t != base:
                others += 1
    if top == NONE or others == 0:
        return
    # The control arm is sticky: by session, else by tenant; without either, by the decision itself.
    sticky = request.session_id if request.session_id.size else request.tenant
    if not sticky.size:
        sticky.data = <const char*> decision.decision_id
        sticky.size = 16
    draw = <double> ((state_key(sticky.data, sticky.size) * <uint64_t> 0x9E3779B97F4A7C15) >> 11) / 9007199254740992.0
    if draw < control:
        chosen = top
        add_reason(decision, REASON_CONTROL, top, control)
    elif unit_random(decision.decision_id, 1) < explore:
        wanted = <int> (unit_random(decision.decision_id, 2) * others)
        for t in range(low, high + 1):
            if decision.candidates[t].eligible and t != base:
                if wanted == 0:
                    chosen = t
                    break
                wanted -= 1
        add_reason(decision, REASON_EXPLORE, chosen, explore / others)
    decision.propensity = (1 - control) * ((1 - explore) if chosen == base else explore / others)
    if chosen == top:
        decision.propensity += control
    decision.tier = chosen


cdef void choose_deployments(const policy_set_t* policies, const live_t* live, const uint64_t* fitting, int wanted,
                             decision_t* decision) noexcept nogil:
    """The first healthy fitting deployment of the tier, and the equivalents behind it, closed ones last.

    `wanted`, a deployment or NONE, comes before the first if it is one of them.
    """
    cdef const tier_t* tier = &policies.tiers[decision.tier]
    cdef int d, turn, closed
    decision.deployment = NONE
    decision.n_fallbacks = 0
    if (wanted != NONE and policies.deployments[wanted].tier == decision.tier and has_bit(fitting, wanted)
            and not has_bit(live.closed, wanted)):
        decision.deployment = wanted
    for turn in range(2):
        for d in range(tier.first_deployment, tier.first_deployment + tier.n_deployments):
            closed = has_bit(live.closed, d)
            if not has_bit(fitting, d) or d == decision.deployment or closed != turn:
                continue
            if closed:
                add_reason(decision, REASON_HEALTH, d, 0)
            if decision.deployment == NONE:
                decision.deployment = d
            elif decision.n_fallbacks < MAX_CHAIN:
                decision.fallbacks[decision.n_fallbacks] = d
                decision.n_fallbacks += 1


cdef int policy_decide(const policy_set_t* policies, const request_t* request, const resolved_t* resolved,
                       const judgement_t* judgement, const live_t* live, const float* features, const uint64_t* keywords,
                       decision_t* decision, fault_t* fault) noexcept nogil:
    cdef const policy_t* policy = &policies.policies[resolved.policy]
    cdef effects_t effects
    cdef uint64_t[DEPLOYMENT_WORDS] fitting
    cdef int low, high, least, most, furthest, t, d, wanted
    cdef double tokens = features[TEXT_FEATURES + CONTEXT_REQUEST_TOKENS]
    memset(&effects, 0, sizeof(effects))
    memset(fitting, 0, sizeof(fitting))
    effects.tier = effects.floor = effects.ceiling = effects.strategy = effects.deployment = NONE
    effects.bar = NAN
    decision.policy = resolved.policy
    decision.n_reasons = 0
    decision.task = judgement.task
    decision.task_probability = 0 if judgement.task == NONE else judgement.tasks[judgement.task]
    if tokens > policy.max_request_tokens:
        fault.value = tokens
        fault.limit = policy.max_request_tokens
        return fail(fault, FAULT_INVALID_FIELD, FIELD_TEXT_BYTES, NONE)

    apply_rules(policies, policy, request, judgement, features, keywords, &effects, decision)
    apply_buckets(policies, policy, judgement, &effects, decision)
    # What the caller allows is never left; inside it rules, session and budget narrow the range.
    least = 0 if resolved.min_tier == NONE else resolved.min_tier
    most = policies.n_tiers - 1 if resolved.max_tier == NONE else resolved.max_tier
    furthest = fill_candidates(policies, request, resolved, judgement, live, features, &effects, least, most, fitting,
                               decision)
    if resolved.min_tier != NONE:
        add_reason(decision, REASON_CONSTRAINT, CONSTRAINT_MIN_TIER, 0)
    if resolved.max_tier != NONE:
        add_reason(decision, REASON_CONSTRAINT, CONSTRAINT_MAX_TIER, 0)
    low = max(least, policy.min_tier)
    high = min(most, policy.max_tier)
    low = max(low, effects.floor)
    if effects.ceiling != NONE:
        high = min(high, effects.ceiling)
    if policy.sessions == SESSION_KEPT and live.session_tier != NONE:
        if min(live.session_tier, policies.n_tiers - 1) > low:
            low = min(live.session_tier, policies.n_tiers - 1)
            add_reason(decision, REASON_SESSION, low, 0)
    if policy.budget_ceiling != NONE and live.budget_spent:
        high = min(high, policy.budget_ceiling)
        add_reason(decision, REASON_BUDGET, policy.budget_ceiling, 0)
    high = min(most, max(least, high))
    low = min(high, max(least, low))

    # The last resort: a range whose every fitting deployment is closed is tried all the same.
    wanted = 0
    for t in range(least, most + 1):
        wanted |= decision.candidates[t].eligible
    if not wanted:
        for t in range(least, most + 1):
            for d in range(policies.tiers[t].first_deployment,
                           policies.tiers[t].first_deployment + policies.tiers[t].n_deployments):
                if has_bit(fitting, d) and decision.candidates[t].deployment == NONE:
                    decision.candidates[t].deployment = d
                    decision.candidates[t].eligible = 1
                    wanted = 1
        if not wanted:
            return fail(fault, FAULT_NO_CANDIDATE, furthest, NONE)

    decision.status = STATUS_DECIDED
    if not judgement.judged:
        decision.status = STATUS_DEFAULTED
        add_reason(decision, REASON_DEFAULT, judgement.default_reason, 0)
    elif judgement.abstain != NONE:
        decision.status = STATUS_ABSTAINED
        add_reason(decision, REASON_ABSTAIN, judgement.abstain, judgement.abstain_score)
    if effects.deployment != NONE:
        wanted = min(most, max(least, policies.deployments[effects.deployment].tier))
    elif effects.tier != NONE:
        wanted = min(most, max(least, effects.tier))
    elif decision.status == STATUS_DECIDED:
        wanted = judged_tier(policies, policy, request, judgement, &effects, low, high, decision)
    else:
        wanted = min(high, max(low, policy.safe_tier))
    decision.tier = NONE
    if low <= wanted <= high:
        decision.tier = nearest_eligible(policies, decision, wanted, low, high)
    if decision.tier == NONE:
        decision.tier = nearest_eligible(policies, decision, wanted, least, most)
    if decision.tier != wanted:
        add_reason(decision, REASON_FIT, wanted, 0)
    if policy.sessions == SESSION_KEPT_WARM and effects.deployment == NONE and effects.tier == NONE:
        keep_warm_tier(policies, live, high, decision)
    decision.propensity = 1
    if effects.deployment == NONE and effects.tier == NONE and decision.status == STATUS_DECIDED:
        randomise(policies, policy, request, low, high, decision)
    decision.strategy = policy.strategy if effects.strategy == NONE else effects.strategy
    choose_deployments(policies, live, fitting, effects.deployment, decision)
    return 0


cdef class PolicySet:
    def __cinit__(self):
        self.blocks = []

    cdef void* block(self, size_t size) except NULL:
        """Zeroed memory that lives as long as the set."""
        cdef bytearray memory = bytearray(max(1, size))
        self.blocks.append(memory)
        return PyByteArray_AS_STRING(memory)

    cdef slice_t text(self, str value):
        cdef bytes encoded = value.encode()
        cdef slice_t slice
        self.blocks.append(encoded)
        slice.data = encoded
        slice.size = len(encoded)
        return slice
