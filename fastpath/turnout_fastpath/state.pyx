"""Live state that shapes decisions, in one fixed-size block that processes of a machine can share.

Written by whoever learns it (breakers, sessions, budgets), read by every decision. No locks: each field is written
atomically, and an entry that is caught in the middle of a write reads as absent.
"""

import mmap
import os

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset

from turnout_fastpath.core cimport DEPLOYMENT_WORDS, MAX_DEPLOYMENTS, MAX_TIERS, NONE, live_t, slice_t


cdef extern from "atomics.h" nogil:
    uint64_t atomic_get(const uint64_t*)
    void atomic_put(uint64_t*, uint64_t)
    void atomic_raise(uint64_t*, uint64_t)
    int atomic_swap_if(uint64_t*, uint64_t, uint64_t)
    uint64_t monotonic_ms()


cdef enum:
    STATE_VERSION = 3

cdef uint64_t STATE_MAGIC = 0x4554415453524E54  # "TNRSTATE"


class StateError(ValueError):
    pass


cdef uint64_t state_key(const char* text, size_t n) noexcept nogil:
    # FNV-1a, then the finaliser of MurmurHash3; never 0, which means free.
    cdef uint64_t h = <uint64_t> 0xCBF29CE484222325
    cdef size_t i
    for i in range(n):
        h = (h ^ <unsigned char> text[i]) * <uint64_t> 0x100000001B3
    h = (h ^ (h >> 33)) * <uint64_t> 0xFF51AFD7ED558CCD
    h = (h ^ (h >> 33)) * <uint64_t> 0xC4CEB9FE1A85EC53
    h ^= h >> 33
    return h if h else 1


cdef int state_slot(state_t* state, uint64_t key) noexcept nogil:
    cdef int start = <int> (key % MAX_DEPLOYMENTS)
    cdef int i, slot
    cdef uint64_t there
    for i in range(MAX_DEPLOYMENTS):
        slot = (start + i) % MAX_DEPLOYMENTS
        there = atomic_get(&state.deployments[slot].key)
        if there == 0 and atomic_swap_if(&state.deployments[slot].key, 0, key):
            return slot
        if atomic_get(&state.deployments[slot].key) == key:
            return slot
    return NONE


# The session's tier + 1 (8 bits), its deployment's slot + 1 (16 bits), the tokens its provider cache holds (32 bits).
cdef inline uint64_t pack_session(int tier, int slot, uint32_t warm_tokens) noexcept nogil:
    return <uint64_t> (tier + 1) | (<uint64_t> (slot + 1) << 8) | (<uint64_t> warm_tokens << 32)


cdef void state_read(const state_t* state, const int32_t* slots, int n_deployments, slice_t session, slice_t tenant,
                     uint64_t now_ms, live_t* live) noexcept nogil:
    cdef int i, d, slot
    cdef uint64_t key, value
    cdef const session_state_t* entry
    cdef const budget_state_t* budget
    memset(live, 0, sizeof(live_t))
    live.session_tier = NONE
    live.session_deployment = NONE
    for i in range(n_deployments):
        if slots[i] != NONE and atomic_get(&state.deployments[slots[i]].closed_until_ms) > now_ms:
            live.closed[i >> 6] |= <uint64_t> 1 << (i & 63)
    if session.size:
        key = state_key(session.data, session.size)
        for i in range(SESSION_WAYS):
            entry = &state.sessions[key % SESSION_SETS][i]
            if atomic_get(&entry.key) != key:
                continue
            value = atomic_get(&entry.value)
            if atomic_get(&entry.check) != value ^ key or atomic_get(&entry.expires_ms) <= now_ms:
                continue
            live.session_tier = <int32_t> (value & 0xFF) - 1
            if atomic_get(&entry.warm_until_ms) > now_ms:
                live.warm_tokens = <uint32_t> (value >> 32)
            slot = <int32_t> ((value >> 8) & 0xFFFF) - 1
            for d in range(n_deployments):
                if slot != NONE and slots[d] == slot:
                    live.session_deployment = d
            break
    if tenant.size:
        key = state_key(tenant.data, tenant.size)
        for i in range(BUDGET_WAYS):
            budget = &state.budgets[key % BUDGET_SETS][i]
            if atomic_get(&budget.key) == key:
                live.budget_spent = atomic_get(&budget.spent_until_ms) > now_ms
                break


cdef uint64_t time_after(double seconds) noexcept:
    """The clock's reading in so many seconds: now for a negative number or NaN, at most 31,709 years ahead."""
    return monotonic_ms() + <uint64_t> (min(seconds, 1e12) * 1000 if seconds > 0 else 0.0)


def boot_key():
    """Hash of the machine's present boot; 1 where the system does not tell."""
    cdef bytes boot
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read()
    except OSError:
        return 1
    return state_key(boot, len(boot))


def refusal(path, magic, version, size, needed):
    """Why a file is no block of this process."""
    if magic == STATE_MAGIC and version != STATE_VERSION:
        return StateError(f"{path} is a state block of version {version}, this process has version {STATE_VERSION}; "
                          "end the processes that use it and remove it")
    if size != needed:
        return StateError(f"{path} has {size} bytes, needed: {needed}")
    return StateError(f"{path} is no state block of version {STATE_VERSION}")


cdef class StateBlock:
    def __cinit__(self, path=None):
        cdef size_t size = sizeof(state_t)
        cdef unsigned char[::1] view
        self.path = None if path is None else os.fspath(path)
        if self.path is None:
            self.mapping = mmap.mmap(-1, size)
        else:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                there = os.fstat(handle).st_size
                if there not in (0, size):
                    header = os.pread(handle, 16, 0)
                    magic, version = (int.from_bytes(header[i : i + 8], "little") for i in (0, 8))
                    raise refusal(self.path, magic, version, there, size)
                if not there:
                    os.ftruncate(handle, size)
                self.mapping = mmap.mmap(handle, size)
            finally:
                os.close(handle)
        view = self.mapping
        self.c = <state_t*> &view[0]
        if self.c.magic == 0:
            self.c.version = STATE_VERSION
            self.c.size = size
            atomic_put(&self.c.magic, STATE_MAGIC)
        if self.c.magic != STATE_MAGIC or self.c.version != STATE_VERSION or self.c.size != size:
            raise refusal(self.path, self.c.magic, self.c.version, size, size)
        self.forget_other_boots()

    def forget_other_boots(self):
        """Clears what holds monotonic times, if they are of another boot of the machine; counters stay."""
        cdef uint64_t boot = boot_key()
        cdef uint64_t there = atomic_get(&self.c.boot)
        if there == boot or not atomic_swap_if(&self.c.boot, there, boot) or there == 0:
            return
        memset(&self.c.deployments, 0, sizeof(self.c.deployments))
        memset(&self.c.sessions, 0, sizeof(self.c.sessions))
        memset(&self.c.budgets, 0, sizeof(self.c.budgets))
        memset(&self.c.breakers, 0, sizeof(self.c.breakers))

    def close_deployment(self, str name not None, double seconds, *, bint extend=False):
        cdef bytes encoded = name.encode()
        cdef int slot = state_slot(self.c, state_key(encoded, len(encoded)))
        if slot == NONE:
            raise StateError(f"the state block holds {MAX_DEPLOYMENTS} deployments; no room for {name!r}")
        if extend:
            atomic_raise(&self.c.deployments[slot].closed_until_ms, time_after(seconds))
        else:
            atomic_put(&self.c.deployments[slot].closed_until_ms, time_after(seconds))

    def open_deployment(self, str name not None):
        self.close_deployment(name, 0)

    def is_closed(self, str name not None):
        cdef bytes encoded = name.encode()
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef uint64_t there
        cdef int i, slot
        # Looks, and unlike state_slot takes no place for a name that is not there.
        for i in range(MAX_DEPLOYMENTS):
            slot = <int> ((key + i) % MAX_DEPLOYMENTS)
            there = atomic_get(&self.c.deployments[slot].key)
            if there == key:
                return atomic_get(&self.c.deployments[slot].closed_until_ms) > monotonic_ms()
            if there == 0:
                break
        return False

    def set_session(self, str session_id not None, int tier, double seconds, *, str deployment=None,
                    uint32_t warm_tokens=0, warm_seconds=None):
        if not 0 <= tier < MAX_TIERS:
            raise StateError(f"tier is {tier}, needed: 0 to {MAX_TIERS - 1}")
        cdef bytes encoded = session_id.encode()
        cdef bytes name
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef int slot = NONE
        if deployment is not None:
            name = deployment.encode()
            slot = state_slot(self.c, state_key(name, len(name)))
        cdef uint64_t value = pack_session(tier, slot, warm_tokens)
        cdef session_state_t* ways = &self.c.sessions[key % SESSION_SETS][0]
        cdef int i, chosen = 0
        # Its own entry, else the one that expires first.
        for i in range(SESSION_WAYS):
            if atomic_get(&ways[i].key) == key:
                chosen = i
                break
            if atomic_get(&ways[i].expires_ms) < atomic_get(&ways[chosen].expires_ms):
                chosen = i
        atomic_put(&ways[chosen].check, 0)
        atomic_put(&ways[chosen].key, key)
        atomic_put(&ways[chosen].expires_ms, time_after(seconds))
        atomic_put(&ways[chosen].warm_until_ms, time_after(seconds if warm_seconds is None else warm_seconds))
        atomic_put(&ways[chosen].value, value)
        atomic_put(&ways[chosen].check, value ^ key)

    def set_budget_spent(self, str tenant not None, double seconds):
        cdef bytes encoded = tenant.encode()
        cdef uint64_t key = state_key(encoded, len(encoded))
        cdef budget_state_t* ways = &self.c.budgets[key % BUDGET_SETS][0]
        cdef int i, chosen = 0
        for i in range(BUDGET_WAYS):
            if atomic_get(&ways[i].key) == key:
                chosen = i
                break
            if atomic_get(&ways[i].spent_until_ms) < atomic_get(&ways[chosen].spent_until_ms):
                chosen = i
        atomic_put(&ways[chosen].spent_until_ms, 0)
        atomic_put(&ways[chosen].key, key)
        atomic_put(&ways[chosen].spent_until_ms, time_after(seconds))
