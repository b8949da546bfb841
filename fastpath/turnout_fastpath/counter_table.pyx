"""Counters of budgets and rates in the shared state block: exact over all processes of a machine, without a lock.

A counter is one word, its period and what is used of it together, so that a reservation and the turn of a period are
one compare-and-swap each. What is reserved is also summed by the span of time in which it was reserved (a lease):
whoever settles takes it from there; what nobody has settled when its span is over, whoever comes next gives back, so
the reservations of a worker that died do not last. A process that is killed between two of the steps, nanoseconds
apart, leaves its reservation standing until the period ends, never the other way round.

A counter is dated: what was settled at that time or later is counted by whoever settles it, what was settled before is
known from records alone and stands in a word of its own, so that it may be restored any number of times. Whoever dates
a counter makes its entry first and reads the clock then; whoever settles reads the clock first and looks for the entry
then. So who finds none has settled before the date, and no settlement is counted twice or never.

A rate is one word too: the time at which it will be as if never used (the theoretical arrival time of the generic
cell rate algorithm, ITU-T I.371), which is a token bucket without a refill.
"""

from libc.stdint cimport int64_t, uint64_t

from turnout_fastpath.state cimport (
    COUNTER_SETS, COUNTER_WAYS, LEASE_BUCKETS, StateBlock, counter_state_t, state_key, state_t,
)

from turnout_fastpath.state import StateError


cdef extern from "atomics.h" nogil:
    uint64_t atomic_get(const uint64_t*)
    void atomic_put(uint64_t*, uint64_t)
    void atomic_raise(uint64_t*, uint64_t)
    int atomic_swap_if(uint64_t*, uint64_t, uint64_t)
    uint64_t monotonic_ms()


cdef extern from "<sched.h>" nogil:
    int sched_yield()


cdef enum:
    DAY_MS = 86400000
    LEASE_MS = 300000            # divides a day, so that no lease spans two periods
    RECYCLING_MS = 1000          # a lock held for longer is a dead process's
    GRACE_MS = 3600000           # an entry outlives its use by this, and so whoever still looks at it
    WAIT_MS = 2000
    STEADY_LOOKS = 1000

cdef uint64_t BUSY = 2
cdef uint64_t MOST_USED = (<uint64_t> 1 << 54) - 1
cdef uint64_t MOST_LEASED = (<uint64_t> 1 << 48) - 1
cdef uint64_t MOST_NS = ~<uint64_t> 0
MAX_USED = MOST_USED

REFUSED = -1
FULL = -2
UNCOUNTED = -3


# The day on which the period begins, modulo 1,024 (10 bits), and what is used of it (54 bits).
cdef inline uint64_t pack_count(uint64_t tag, uint64_t used) noexcept nogil:
    return tag << 54 | used


# Whether a word is of the period `tag` or, since clocks of two processes are read one after the other, of the next
# one, at most a month later. A word that was never written is of none.
cdef inline int is_current(uint64_t word, uint64_t tag) noexcept nogil:
    return word != 0 and ((word >> 54) - tag & 1023) <= 31


cdef inline uint64_t* since_of(state_t* state, const counter_state_t* counter) noexcept nogil:
    return &state.since_ns[0][0] + (counter - &state.counters[0][0])


cdef uint64_t date_counter(state_t* state, const counter_state_t* counter, uint64_t since_ns) noexcept nogil:
    """Dates a counter that is not dated; returns the date that holds."""
    cdef uint64_t* since = since_of(state, counter)
    cdef uint64_t there = atomic_get(since)
    while there == 0:
        if atomic_swap_if(since, 0, since_ns):
            add_dated(state)
            return since_ns
        there = atomic_get(since)
    return there


cdef void add_dated(state_t* state) noexcept nogil:
    cdef uint64_t there = atomic_get(&state.dated)
    while not atomic_swap_if(&state.dated, there, there + 1):
        there = atomic_get(&state.dated)


cdef counter_state_t* claim_counter(state_t* state, uint64_t key, uint64_t now_ms, uint64_t expires_ms) noexcept nogil:
    """The counter's entry, made if absent; NULL if its set is full of counters in use.

    Keys go from free to taken one way after another and never back, so two processes that bring the same key meet at
    the same way. An entry is only taken over in a full set, by the holder of the set's lock.
    """
    cdef int row = <int> (key % COUNTER_SETS)
    cdef counter_state_t* ways = &state.counters[row][0]
    cdef counter_state_t* oldest
    cdef uint64_t stamp, there
    cdef uint64_t began = monotonic_ms()
    cdef int i
    while monotonic_ms() - began < WAIT_MS:
        for i in range(COUNTER_WAYS):
            if atomic_get(&ways[i].key) == 0 and atomic_swap_if(&ways[i].key, 0, key):
                atomic_raise(&ways[i].expires_ms, expires_ms)
            if atomic_get(&ways[i].key) == key:
                return &ways[i]
        stamp = monotonic_ms()
        there = atomic_get(&state.recycling[row])
        if there and there + RECYCLING_MS > stamp:
            # The holder needs nanoseconds, unless it does not run at the moment.
            sched_yield()
            continue
        if not atomic_swap_if(&state.recycling[row], there, stamp):
            continue
        oldest = NULL
        for i in range(COUNTER_WAYS):
            if atomic_get(&ways[i].key) == key:
                oldest = &ways[i]
                break
            there = atomic_get(&ways[i].expires_ms)
            if there and there < now_ms and (oldest == NULL or there < atomic_get(&oldest.expires_ms)):
                oldest = &ways[i]
        if oldest != NULL and atomic_get(&oldest.key) != key:
            atomic_put(&oldest.key, BUSY)
            atomic_put(&oldest.value, 0)
            atomic_put(&oldest.restored, 0)
            atomic_put(since_of(state, oldest), 0)
            for i in range(LEASE_BUCKETS):
                atomic_put(&oldest.leases[i], 0)
            atomic_put(&oldest.expires_ms, expires_ms)
            atomic_put(&oldest.key, key)
        atomic_swap_if(&state.recycling[row], stamp, 0)
        return oldest
    return NULL


cdef counter_state_t* find_counter(state_t* state, uint64_t key) noexcept nogil:
    cdef counter_state_t* ways = &state.counters[key % COUNTER_SETS][0]
    cdef int i
    for i in range(COUNTER_WAYS):
        if atomic_get(&ways[i].key) == key:
            return &ways[i]
    return NULL


cdef void take_from_count(counter_state_t* counter, uint64_t tag, uint64_t amount) noexcept nogil:
    """Lessens what is used of a period, if it is still the word's; never below 0."""
    cdef uint64_t word, used
    while True:
        word = atomic_get(&counter.value)
        used = word & MOST_USED
        if word >> 54 != tag:
            return
        if atomic_swap_if(&counter.value, word, pack_count(tag, used - amount if used > amount else 0)):
            return


# A lease: its span's number modulo 65,536 (16 bits), and what is reserved in it (48 bits).
cdef uint64_t end_leases(counter_state_t* counter, uint64_t span, uint64_t begins_ms, uint64_t tag) noexcept nogil:
    """Gives back what was reserved so long ago that nobody will settle it; returns how much."""
    cdef uint64_t word, age, amount, total = 0
    cdef int i
    for i in range(LEASE_BUCKETS):
        word = atomic_get(&counter.leases[i])
        amount = word & MOST_LEASED
        age = span - (word >> 48) & 0xFFFF
        # Half of the numbers are ahead: a span that another process has begun a moment before this one.
        if amount == 0 or age < LEASE_BUCKETS or age >= 0x8000:
            continue
        if not atomic_swap_if(&counter.leases[i], word, word & ~MOST_LEASED):
            continue
        # Of an earlier period nothing is left to give back to.
        if age <= span - begins_ms // LEASE_MS:
            take_from_count(counter, tag, amount)
            total += amount
    return total


cdef int add_lease(counter_state_t* counter, uint64_t span, uint64_t amount) noexcept nogil:
    cdef uint64_t* lease = &counter.leases[span % LEASE_BUCKETS]
    cdef uint64_t word, there
    while True:
        word = atomic_get(lease)
        there = word & MOST_LEASED
        if there and word >> 48 != (span & 0xFFFF):
            return 0
        if there + amount > MOST_LEASED:
            return 0
        if atomic_swap_if(lease, word, (span & 0xFFFF) << 48 | there + amount):
            return 1


cdef int take_lease(counter_state_t* counter, uint64_t span, uint64_t amount) noexcept nogil:
    """True if the reservation still stood."""
    cdef uint64_t* lease = &counter.leases[span % LEASE_BUCKETS]
    cdef uint64_t word
    while True:
        word = atomic_get(lease)
        if word >> 48 != (span & 0xFFFF) or (word & MOST_LEASED) < amount:
            return 0
        if atomic_swap_if(lease, word, word - amount):
            return 1


cdef uint64_t leased(const counter_state_t* counter, uint64_t span, uint64_t begins_ms) noexcept nogil:
    """What was reserved in the period and is neither settled nor given back."""
    cdef uint64_t word, age, total = 0
    cdef int i
    for i in range(LEASE_BUCKETS):
        word = atomic_get(&counter.leases[i])
        age = span - (word >> 48) & 0xFFFF
        if age >= 0x8000 or age <= span - begins_ms // LEASE_MS:
            total += word & MOST_LEASED
    return total


cdef inline uint64_t used_of(uint64_t word, uint64_t tag) noexcept nogil:
    return word & MOST_USED if is_current(word, tag) else 0


cdef uint64_t settled(const counter_state_t* counter, uint64_t tag, uint64_t span, uint64_t begins_ms) noexcept nogil:
    """What was settled and counted of a period; at least that, while others count.

    What is reserved is added to the word before it is to the lease, and taken from the lease before it is from the
    word, so a moment between the two makes the difference too great, never too small.
    """
    cdef uint64_t word = 0
    cdef uint64_t held = 0
    cdef int i
    for i in range(STEADY_LOOKS):
        word = atomic_get(&counter.value)
        held = leased(counter, span, begins_ms)
        if atomic_get(&counter.value) == word and leased(counter, span, begins_ms) == held:
            break
        held = 0
    word = used_of(word, tag)
    return word - held if word > held else 0


cdef class CounterTable:
    cdef StateBlock block
    cdef readonly uint64_t given_back

    def __cinit__(self, StateBlock block not None):
        self.block = block

    @property
    def dated(self):
        return atomic_get(&self.block.c.dated)

    def open(self, str name not None, *, uint64_t ends_ms, uint64_t now_ms):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = claim_counter(
            self.block.c, state_key(encoded, len(encoded)), now_ms, ends_ms + GRACE_MS)
        if counter == NULL:
            return False
        atomic_raise(&counter.expires_ms, ends_ms + GRACE_MS)
        return True

    def date(self, str name not None, uint64_t since_ns):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        if since_ns == 0:
            raise StateError("since_ns is 0, at least 1 needed")
        return 0 if counter == NULL else date_counter(self.block.c, counter, since_ns)

    def since_ns(self, str name not None):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        return 0 if counter == NULL else atomic_get(since_of(self.block.c, counter))

    def dates(self):
        cdef set found = set()
        cdef uint64_t last = 0
        cdef uint64_t since
        cdef int i, j
        for i in range(COUNTER_SETS):
            for j in range(COUNTER_WAYS):
                since = atomic_get(&self.block.c.since_ns[i][j])
                if since and since != last:
                    found.add(since)
                    last = since
        return found

    def reserve(self, str name not None, uint64_t amount, uint64_t limit, *, uint64_t begins_ms, uint64_t ends_ms,
                uint64_t now_ms, uint64_t since_ns=1):
        cdef bytes encoded = name.encode()
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef uint64_t tag = begins_ms // DAY_MS & 1023
        cdef uint64_t span = now_ms // LEASE_MS
        cdef uint64_t word, used, restored
        cdef counter_state_t* counter
        if begins_ms % DAY_MS or not begins_ms <= now_ms < ends_ms:
            raise StateError(f"{now_ms} is in no period of whole days from {begins_ms} to {ends_ms}")
        if limit > MOST_USED or amount > MOST_LEASED:
            raise StateError(f"limit is {limit} and amount {amount}, at most {MOST_USED} and {MOST_LEASED} needed")
        while True:
            counter = claim_counter(self.block.c, key, now_ms, ends_ms + GRACE_MS)
            if counter == NULL:
                return FULL, 0, 0
            date_counter(self.block.c, counter, since_ns)
            atomic_raise(&counter.expires_ms, ends_ms + GRACE_MS)
            self.given_back += end_leases(counter, span, begins_ms, tag)
            while True:
                word = atomic_get(&counter.value)
                used = 0
                if is_current(word, tag):
                    used = word & MOST_USED
                    tag = word >> 54
                restored = used_of(atomic_get(&counter.restored), tag)
                if used + restored + amount > limit:
                    return REFUSED, 0, 0
                if atomic_swap_if(&counter.value, word, pack_count(tag, used + amount)):
                    break
            if atomic_get(&counter.key) != key:
                # Taken over between the look and the count, which only a stall of an hour can bring about.
                take_from_count(counter, tag, amount)
                continue
            if not add_lease(counter, span, amount):
                take_from_count(counter, tag, amount)
                return REFUSED, 0, 0
            return <int64_t> (used + restored + amount), tag, span

    def settle(self, str name not None, uint64_t reserved, uint64_t actual, uint64_t tag, uint64_t span,
               uint64_t settled_ns=MOST_NS):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        cdef uint64_t word, used
        if counter == NULL:
            return 0
        if not take_lease(counter, span, reserved):
            reserved = 0
        if settled_ns < atomic_get(since_of(self.block.c, counter)):
            actual = 0
        while True:
            word = atomic_get(&counter.value)
            if word >> 54 != tag:
                return 0
            used = word & MOST_USED
            used = min((used - reserved if used > reserved else 0) + min(actual, MOST_USED), MOST_USED)
            if atomic_swap_if(&counter.value, word, pack_count(tag, used)):
                return used + used_of(atomic_get(&counter.restored), tag)

    def count(self, str name not None, uint64_t amount, uint64_t settled_ns, *, uint64_t begins_ms, uint64_t ends_ms,
              uint64_t now_ms, str kin=None, uint64_t since_ns=0):
        cdef bytes encoded = name.encode()
        cdef bytes of_kin
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef uint64_t tag = begins_ms // DAY_MS & 1023
        cdef uint64_t word, used, ahead
        cdef state_t* state = self.block.c
        cdef counter_state_t* counter = find_counter(state, key)
        cdef counter_state_t* other
        if begins_ms % DAY_MS or not begins_ms < ends_ms:
            raise StateError(f"{begins_ms} to {ends_ms} is no period of whole days")
        if counter == NULL and kin is not None:
            of_kin = kin.encode()
            other = find_counter(state, state_key(of_kin, len(of_kin)))
            if other != NULL and atomic_get(since_of(state, other)):
                since_ns = atomic_get(since_of(state, other))
        if counter == NULL:
            if since_ns == 0:
                return UNCOUNTED
            counter = claim_counter(state, key, now_ms, ends_ms + GRACE_MS)
            if counter == NULL:
                return FULL
        if since_ns:
            date_counter(state, counter, since_ns)
        # Who makes it at this moment dates it later than this settlement.
        word = atomic_get(since_of(state, counter))
        if word == 0 or settled_ns < word:
            return UNCOUNTED
        atomic_raise(&counter.expires_ms, ends_ms + GRACE_MS)
        while True:
            word = atomic_get(&counter.value)
            used = 0
            if word:
                ahead = (word >> 54) - tag & 1023
                if 0 < ahead <= 31:
                    return UNCOUNTED
                if ahead == 0:
                    used = word & MOST_USED
            used = min(used + min(amount, MOST_USED), MOST_USED)
            if atomic_swap_if(&counter.value, word, pack_count(tag, used)):
                return <int64_t> (used + used_of(atomic_get(&counter.restored), tag))

    def used(self, str name not None, *, uint64_t begins_ms, uint64_t now_ms):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        cdef uint64_t tag = begins_ms // DAY_MS & 1023
        cdef uint64_t word
        if counter == NULL:
            return 0
        self.given_back += end_leases(counter, now_ms // LEASE_MS, begins_ms, tag)
        return used_of(atomic_get(&counter.value), tag) + used_of(atomic_get(&counter.restored), tag)

    def restore(self, str name not None, uint64_t before, uint64_t whole, *, uint64_t begins_ms, uint64_t ends_ms,
                uint64_t now_ms, uint64_t since_ns=1):
        cdef bytes encoded = name.encode()
        cdef uint64_t tag = begins_ms // DAY_MS & 1023
        cdef uint64_t word, counted
        cdef counter_state_t* counter
        if begins_ms % DAY_MS or not begins_ms <= now_ms < ends_ms:
            raise StateError(f"{now_ms} is in no period of whole days from {begins_ms} to {ends_ms}")
        counter = claim_counter(self.block.c, state_key(encoded, len(encoded)), now_ms, ends_ms + GRACE_MS)
        if counter == NULL:
            return False
        date_counter(self.block.c, counter, since_ns)
        atomic_raise(&counter.expires_ms, ends_ms + GRACE_MS)
        self.given_back += end_leases(counter, now_ms // LEASE_MS, begins_ms, tag)
        counted = settled(counter, tag, now_ms // LEASE_MS, begins_ms)
        before = min(max(before, whole - counted if whole > counted else 0), MOST_USED)
        while True:
            word = atomic_get(&counter.restored)
            # Of the same period, or of the next one, which another process has begun a moment before.
            if is_current(word, tag) and (word >> 54 != tag or (word & MOST_USED) >= before):
                return True
            if atomic_swap_if(&counter.restored, word, pack_count(tag, before)):
                return True

    def take(self, str name not None, uint64_t cost_ns, uint64_t burst_ns, *, uint64_t now_ns, uint64_t now_ms):
        cdef bytes encoded = name.encode()
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef uint64_t there, start
        cdef counter_state_t* counter
        if cost_ns > burst_ns or burst_ns > MOST_USED:
            raise StateError(f"cost is {cost_ns} ns and burst {burst_ns} ns, at most {burst_ns} and {MOST_USED} needed")
        while True:
            counter = claim_counter(self.block.c, key, now_ms, now_ms + GRACE_MS)
            if counter == NULL:
                return FULL
            while True:
                there = atomic_get(&counter.value)
                # Later than any take can have brought it: another boot's, or another limit's.
                start = max(there, now_ns) if there <= now_ns + burst_ns else now_ns
                if start + cost_ns > now_ns + burst_ns:
                    return <int64_t> (start + cost_ns - now_ns - burst_ns)
                if atomic_swap_if(&counter.value, there, start + cost_ns):
                    break
            if atomic_get(&counter.key) == key:
                atomic_raise(&counter.expires_ms, now_ms + burst_ns // 1000000 + GRACE_MS)
                return 0

    def charge(self, str name not None, uint64_t cost_ns, uint64_t burst_ns, *, uint64_t now_ns):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        cdef uint64_t there, start
        if counter == NULL:
            return
        while True:
            there = atomic_get(&counter.value)
            start = max(there, now_ns) if there <= now_ns + burst_ns else now_ns
            if atomic_swap_if(&counter.value, there, min(start + min(cost_ns, burst_ns), now_ns + burst_ns)):
                return

    def give_back(self, str name not None, uint64_t cost_ns):
        cdef bytes encoded = name.encode()
        cdef counter_state_t* counter = find_counter(self.block.c, state_key(encoded, len(encoded)))
        cdef uint64_t there
        if counter == NULL:
            return
        while True:
            there = atomic_get(&counter.value)
            if atomic_swap_if(&counter.value, there, there - cost_ns if there > cost_ns else 0):
                return
