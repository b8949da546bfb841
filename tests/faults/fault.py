"""The faults, by the name that a request's model bears."""

from __future__ import annotations

from enum import StrEnum

from tests.faults.wire import Wire

ALL = frozenset(Wire)


class Fault(StrEnum):
    """What the fake upstream does to a request. The value is the model's name, before a dot and a label of the test's.

    A member's docstring says what happens. `must` says what a dispatcher owes its caller then. `times` is how many
    requests of a model are met by the fault before the rest are answered; None means all. `wires` are the wires that
    can speak it; `unary` is False where only a stream can.
    """

    must: str
    times: int | None
    wires: frozenset[Wire]
    unary: bool

    def __new__(
        cls,
        model: str,
        does: str,
        must: str,
        times: int | None = None,
        wires: frozenset[Wire] = ALL,
        unary: bool = True,
    ) -> Fault:
        """A member of this value and docstring."""
        member = str.__new__(cls, model)
        member._value_ = model
        member.__doc__ = does
        member.must = must
        member.times = times
        member.wires = wires
        member.unary = unary
        return member

    ORDINARY = "ordinary", "Answers in full: 60 tokens.", "the whole answer"

    RATE_LIMITED = "rate-limited", "429 without a time to wait, for good.", "another deployment serves"
    RATE_LIMITED_SECONDS = (
        "rate-limited-seconds",
        "429 with Retry-After in seconds, once.",
        "another deployment serves at once, or this one after the wait",
        1,
    )
    RATE_LIMITED_DATE = (
        "rate-limited-date",
        "429 with Retry-After as an HTTP date, once.",
        "another deployment serves at once, or this one after the wait",
        1,
    )
    RATE_LIMITED_MILLISECONDS = (
        "rate-limited-milliseconds",
        "429 with retry-after-ms, once.",
        "another deployment serves at once, or this one after the wait",
        1,
    )
    RATE_LIMITED_RETRY_INFO = (
        "rate-limited-retry-info",
        "429 with google.rpc.RetryInfo in its body, once.",
        "another deployment serves at once, or this one after the wait",
        1,
        frozenset({Wire.GEMINI}),
    )
    QUOTA_EXHAUSTED = (
        "quota-exhausted",
        "The account's quota or balance is used up, in the wire's own form, for good.",
        "no retry; another account serves",
    )
    SERVER_ERROR_ONCE = (
        "server-error-once",
        "500, once.",
        "served after one retry or by another deployment",
        1,
    )
    SERVER_ERROR = "server-error", "500, for good.", "another deployment serves"
    UNAVAILABLE = "unavailable", "503, for good.", "another deployment serves"
    OVERLOADED = (
        "overloaded",
        "529 or the wire's own word for overload, for good.",
        "no retry here; another deployment serves",
    )
    OUTAGE = (
        "outage",
        "503, or another fault of the test's choice, while the test says that it is down; else an answer.",
        "served throughout; back on this deployment after the outage",
    )
    UNAUTHORIZED = "unauthorized", "401.", "no retry here; another deployment serves"
    FORBIDDEN = "forbidden", "403.", "no retry here; another deployment serves"
    NOT_FOUND = "not-found", "404: no such model.", "no retry here; another deployment serves"
    BAD_REQUEST = (
        "bad-request",
        "400: the request is not valid.",
        "an error to the caller; nobody else is asked",
    )
    CONTEXT_EXCEEDED = (
        "context-exceeded",
        "400: the prompt does not fit the window, in the wire's own form.",
        "one attempt here; a larger window serves, or an error to the caller",
    )
    CONTENT_POLICY = (
        "content-policy",
        "The prompt is against the policy: 400, on Gemini a block reason.",
        "an error to the caller; no other vendor is asked",
    )
    PREFILL_REJECTED = (
        "prefill-rejected",
        "400 if the conversation ends with a turn of the assistant; an answer otherwise.",
        "after a cut, this fallback is never sent a partial answer",
    )
    REDIRECT = "redirect", "307 to another path of this server.", "never followed; another deployment serves"

    RESET = "reset", "A TCP reset before any byte of the response, for good.", "another deployment serves"
    STALE_KEEP_ALIVE = (
        "stale-keep-alive",
        "A connection serves one request; on a second it is closed before any byte of the response.",
        "one retry at once on a fresh connection",
    )
    SILENCE = (
        "silence",
        "Nothing for 120 s, then the connection closes.",
        "another deployment serves within the deadline; this socket is closed",
    )
    SILENCE_AFTER_HEAD = (
        "silence-after-head",
        "The response's head, then nothing for 120 s, then the connection closes.",
        "another deployment serves within the deadline; this socket is closed",
    )
    SLOW_FIRST_TOKEN = (
        "slow-first-token",
        "20 s before the first token; on a stream the head and what comes before a token are sent at once.",
        "another deployment serves within the deadline, or this answer whole",
    )
    SLOW_BODY = "slow-body", "0.1 s between tokens; a unary body in 60 pieces.", "the whole answer"

    CUT = (
        "cut",
        "The connection is closed after 40 of 60 tokens, amid the body.",
        "an error with what came so far, or a restart; never a clean end",
    )
    CUT_BY_RESET = (
        "cut-by-reset",
        "A TCP reset after 40 of 60 tokens.",
        "an error with what came so far, or a restart; never a clean end",
    )
    CUT_CLEANLY = (
        "cut-cleanly",
        "After 40 of 60 tokens the body ends well, as HTTP sees it, without a finish reason.",
        "an error with what came so far, or a restart; never a clean end",
    )
    STALL = (
        "stall",
        "Nothing more for 120 s after 40 of 60 tokens, then the connection closes.",
        "an error within the limit between tokens, or a restart; this socket is closed",
    )
    MALFORMED = (
        "malformed",
        "One event's JSON, or the unary body, is cut in half; the rest is whole.",
        "a broken stream: never a clean end",
    )
    HTML = "html", "200 with a web page instead of the wire's form.", "another deployment serves"
    NO_END_MARK = (
        "no-end-mark",
        "A stream that gives its finish reason and usage, and ends without the wire's end mark.",
        "the whole answer",
        None,
        frozenset({Wire.OPENAI, Wire.ANTHROPIC}),
        False,
    )
    ERROR_AFTER_HEAD = (
        "error-after-head",
        "200, then an error as the first event; as the whole body of a unary response.",
        "another deployment serves",
    )
    ERROR_IN_STREAM = (
        "error-in-stream",
        "An error event after 40 of 60 tokens.",
        "an error with what came so far, or a restart; never a clean end",
        None,
        ALL,
        False,
    )
    BYTE_BY_BYTE = "byte-by-byte", "The response's body comes in writes of one byte.", "the whole answer"
    LONG_LINE = "long-line", "A token of 64 KiB on one line.", "the whole answer"
    ENDLESS_LINE = (
        "endless-line",
        "A line of 2 MiB that does not end; a unary body of white space likewise.",
        "an error, or another deployment; memory stays bounded",
    )
    UNUSUAL_SSE = (
        "unusual-sse",
        "Comments, blank data, unknown events, other line ends, data over two lines: all of it legal.",
        "the whole answer",
        None,
        ALL,
        False,
    )

    ACCOUNTING = (
        "accounting",
        "An answer whose usage has cached, cache-write and reasoning tokens, in the wire's own form.",
        "a bill that is right to the token",
    )
    REFUSAL = (
        "refusal",
        "200 with the model's refusal in the wire's own field.",
        "one escalation, or the refusal, marked as such",
    )
    REFUSAL_IN_WORDS = (
        "refusal-in-words",
        "200 with a refusal that only its wording tells.",
        "one escalation, or the refusal, marked as such",
    )
    BLOCKED = (
        "blocked",
        "200 with a filter's verdict beside the model: content_filter, or a block reason.",
        "the verdict to the caller",
        None,
        frozenset({Wire.OPENAI, Wire.GEMINI}),
    )
    EMPTY = "empty", "200 with no text.", "one escalation"
    REASONING_ONLY = "reasoning-only", "200 with reasoning and no text.", "one escalation"
    LENGTH_WITHOUT_TEXT = (
        "length-without-text",
        "200 with no text, all of the output limit spent on reasoning.",
        "one escalation with a larger output limit",
    )
    LENGTH = (
        "length",
        "200 with an answer that the output limit cut.",
        "the finish reason says length; a gate may escalate",
    )
    CONTEXT_WINDOW_STOP = (
        "context-window-stop",
        "200 with an answer that the model's window cut, by a stop reason of its own.",
        "the finish reason says so; never a clean stop",
        None,
        frozenset({Wire.ANTHROPIC}),
    )
    TOOL_CALLS = (
        "tool-calls",
        "Two calls of tools, their arguments in fragments that come in turn where the wire has fragments.",
        "both calls, whole",
    )
    TOOL_ARGUMENTS_BROKEN = (
        "tool-arguments-broken",
        "A call of a tool whose arguments are no JSON.",
        "one escalation",
    )


BY_NAME = {fault.value: fault for fault in Fault}

WALL = (
    Fault.RATE_LIMITED,
    Fault.RATE_LIMITED_SECONDS,
    Fault.SERVER_ERROR_ONCE,
    Fault.UNAVAILABLE,
    Fault.RESET,
    Fault.SILENCE,
    Fault.SLOW_FIRST_TOKEN,
    Fault.CUT,
    Fault.STALL,
    Fault.MALFORMED,
    Fault.NO_END_MARK,
    Fault.CONTEXT_EXCEEDED,
    Fault.CONTENT_POLICY,
    Fault.PREFILL_REJECTED,
    Fault.OUTAGE,
    Fault.ACCOUNTING,
)
"""The sixteen that public scores of gateways count. For PREFILL_REJECTED the primary is a CUT."""
