"""What each fault does."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.utils import formatdate
from functools import partial

from tests.faults.answer import Answer, Finish, Usage
from tests.faults.exchange import Exchange
from tests.faults.fault import Fault
from tests.faults.scripted_answers import ANSWERS, REFUSAL_TEXT
from tests.faults.wire import Event, Part, Problem, Wire

# completion.md, section 5: a cut and a stall come after 40 of 60 tokens.
CUT_AFTER_TOKENS = 40
SILENCE_S = 120.0
FIRST_TOKEN_S = 20.0
BETWEEN_TOKENS_S = 0.1
LONG_LINE_BYTES = 64 << 10
ENDLESS_LINE_BYTES = 2 << 20
PIECE_BYTES = 64 << 10

Behaviour = Callable[[Exchange], Awaitable[None]]


async def answer(exchange: Exchange) -> None:
    """The answer, whole."""
    if exchange.call.stream:
        await exchange.send_rest(await exchange.open_stream())
    else:
        await exchange.reply(exchange.form.answer(exchange.answer, exchange.call))


async def complain(exchange: Exchange, problem: Problem) -> None:
    """The wire's error response for a problem."""
    await exchange.complain(problem)


async def _rate_limited_seconds(exchange: Exchange) -> None:
    headers = {"retry-after": str(math.ceil(exchange.retry_after_s))}
    await exchange.complain(Problem.RATE_LIMITED, headers=headers)


async def _rate_limited_date(exchange: Exchange) -> None:
    # The date has whole seconds; rounded up, so that it is never over too early.
    until_s = math.ceil(exchange.clock() + exchange.retry_after_s)
    headers = {"retry-after": formatdate(until_s, usegmt=True)}
    await exchange.complain(Problem.RATE_LIMITED, headers=headers)


async def _rate_limited_milliseconds(exchange: Exchange) -> None:
    headers = {"retry-after-ms": str(round(exchange.retry_after_s * 1000))}
    await exchange.complain(Problem.RATE_LIMITED, headers=headers)


async def _rate_limited_retry_info(exchange: Exchange) -> None:
    await exchange.complain(Problem.RATE_LIMITED, retry_info_s=exchange.retry_after_s)


async def _outage(exchange: Exchange) -> None:
    await BEHAVIOURS[exchange.down or Fault.ORDINARY](exchange)


async def _content_policy(exchange: Exchange) -> None:
    if exchange.gemini:
        await _blocked(exchange)
    else:
        await exchange.complain(Problem.CONTENT_POLICY)


async def _blocked(exchange: Exchange) -> None:
    await answer(replace(exchange, answer=ANSWERS[Fault.BLOCKED]))


async def _prefill_rejected(exchange: Exchange) -> None:
    if exchange.call.prefilled:
        await exchange.complain(Problem.PREFILL_REJECTED)
    else:
        await answer(exchange)


async def _redirect(exchange: Exchange) -> None:
    await exchange.reply("{}", 307, {"location": f"/redirected{exchange.seen.path}"})


async def _reset(exchange: Exchange) -> None:
    exchange.connection.reset()


async def _stale_keep_alive(exchange: Exchange) -> None:
    if exchange.connection.seen.requests > 1:
        exchange.connection.close()
    else:
        await answer(exchange)


async def _silence(exchange: Exchange) -> None:
    await exchange.hold(SILENCE_S)
    exchange.connection.close()


async def _silence_after_head(exchange: Exchange) -> None:
    if exchange.call.stream:
        await exchange.open_stream()
    else:
        await exchange.reply(exchange.form.answer(exchange.answer, exchange.call), sent_bytes=0)
    await _silence(exchange)


async def _slow_first_token(exchange: Exchange) -> None:
    if not exchange.call.stream:
        await exchange.hold(FIRST_TOKEN_S)
        await answer(exchange)
        return
    held = False
    for event in await exchange.open_stream():
        if event.part is Part.TOKEN and not held:
            held = True
            await exchange.hold(FIRST_TOKEN_S)
        await exchange.send_event(event)
    await exchange.end_stream()


async def _slow_body(exchange: Exchange) -> None:
    if exchange.call.stream:
        await exchange.send_rest(await exchange.open_stream(), BETWEEN_TOKENS_S)
    else:
        body = exchange.form.answer(exchange.answer, exchange.call)
        size = math.ceil(len(body.encode()) / max(1, len(exchange.answer.tokens)))
        await exchange.reply_in_pieces(body, size, BETWEEN_TOKENS_S)


async def _cut(exchange: Exchange, *, by_reset: bool = False) -> None:
    await _send_part(exchange)
    if by_reset:
        exchange.connection.reset()
    else:
        exchange.connection.close()


async def _cut_cleanly(exchange: Exchange) -> None:
    if exchange.call.stream:
        events = await exchange.open_stream()
        await exchange.send_tokens(events, CUT_AFTER_TOKENS)
        await exchange.end_stream()
    else:
        await _malformed(exchange)


async def _stall(exchange: Exchange) -> None:
    await _send_part(exchange)
    await _silence(exchange)


async def _send_part(exchange: Exchange) -> None:
    """The first 40 tokens; of a unary body its first half."""
    if exchange.call.stream:
        await exchange.send_tokens(await exchange.open_stream(), CUT_AFTER_TOKENS)
    else:
        body = exchange.form.answer(exchange.answer, exchange.call)
        await exchange.reply(body, sent_bytes=len(body.encode()) // 2)


async def _malformed(exchange: Exchange) -> None:
    if not exchange.call.stream:
        body = exchange.form.answer(exchange.answer, exchange.call)
        await exchange.reply(body[: len(body) // 2])
        return
    events = await exchange.open_stream()
    await exchange.send_tokens(events, CUT_AFTER_TOKENS)
    broken = next(events)
    await exchange.send_event(replace(broken, data=broken.data[: len(broken.data) // 2]))
    await exchange.send_rest(events)


async def _html(exchange: Exchange) -> None:
    page = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>data: </body></html>\n"
    await exchange.reply(page, content_type="text/html; charset=utf-8")


async def _no_end_mark(exchange: Exchange) -> None:
    for event in await exchange.open_stream():
        if event.part is not Part.END:
            await exchange.send_event(event)
    await exchange.end_stream()


async def _error_after_head(exchange: Exchange) -> None:
    problem = exchange.form.problem_event(Problem.OVERLOADED)
    if exchange.call.stream:
        await exchange.open_stream()
        await exchange.send_event(problem)
        await exchange.end_stream()
    else:
        await exchange.reply(problem.data)


async def _error_in_stream(exchange: Exchange) -> None:
    await exchange.send_tokens(await exchange.open_stream(), CUT_AFTER_TOKENS)
    await exchange.send_event(exchange.form.problem_event(Problem.SERVER_ERROR))
    await exchange.end_stream()


async def _byte_by_byte(exchange: Exchange) -> None:
    if not exchange.call.stream:
        await exchange.reply_in_pieces(exchange.form.answer(exchange.answer, exchange.call), 1)
        return
    for event in await exchange.open_stream():
        for byte in exchange.frame(event):
            await exchange.send_chunk(bytes([byte]))
        exchange.count(event)
    await exchange.end_stream()


async def _long_line(exchange: Exchange) -> None:
    first, *rest = exchange.answer.tokens or ("",)
    long = replace(exchange.answer, tokens=(first, "x" * LONG_LINE_BYTES, *rest[1:]))
    await answer(replace(exchange, answer=long))


async def _endless_line(exchange: Exchange) -> None:
    if exchange.call.stream:
        await exchange.open_stream()
        await exchange.send_chunk(b"data: ")
        for _ in range(0, ENDLESS_LINE_BYTES, PIECE_BYTES):
            await exchange.send_chunk(b"x" * PIECE_BYTES)
        await exchange.end_stream()
    else:
        await exchange.reply(" " * ENDLESS_LINE_BYTES)


async def _unusual_sse(exchange: Exchange) -> None:
    other_end = "\n" if exchange.form.line_end == "\r\n" else "\r\n"
    odd = f": keep-alive{other_end}{other_end}data:{other_end}{other_end}retry: 3000{other_end}{other_end}"
    for number, event in enumerate(await exchange.open_stream()):
        await exchange.send_chunk(odd.encode())
        note = Event(Part.OTHER, '{"type":"vendor.note"}', "vendor.note")
        await exchange.send_chunk(exchange.frame(note))
        name = f"event:{event.name}{other_end}" if event.name else ""
        # The line feed between data lines is part of the payload, where JSON takes white space.
        data = event.data.replace("{", "{" + f"{other_end}data: ", 1)
        await exchange.send_chunk(f"id: {number}{other_end}{name}data:{data}{other_end}{other_end}".encode())
        exchange.count(event)
    await exchange.end_stream()


async def _refusal(exchange: Exchange) -> None:
    text = REFUSAL_TEXT if exchange.call.wire is Wire.OPENAI else ""
    words = len(text.split())
    refusal = Answer(tokens=(), refusal=text, finish=Finish.REFUSAL, usage=Usage(output_text=words))
    await answer(replace(exchange, answer=refusal))


async def _answer_of(exchange: Exchange, given: Answer) -> None:
    await answer(replace(exchange, answer=given))


def _complaint(problem: Problem) -> Behaviour:
    return partial(complain, problem=problem)


BEHAVIOURS: dict[Fault, Behaviour] = {
    Fault.ORDINARY: answer,
    Fault.RATE_LIMITED: _complaint(Problem.RATE_LIMITED),
    Fault.RATE_LIMITED_SECONDS: _rate_limited_seconds,
    Fault.RATE_LIMITED_DATE: _rate_limited_date,
    Fault.RATE_LIMITED_MILLISECONDS: _rate_limited_milliseconds,
    Fault.RATE_LIMITED_RETRY_INFO: _rate_limited_retry_info,
    Fault.QUOTA_EXHAUSTED: _complaint(Problem.QUOTA_EXHAUSTED),
    Fault.SERVER_ERROR_ONCE: _complaint(Problem.SERVER_ERROR),
    Fault.SERVER_ERROR: _complaint(Problem.SERVER_ERROR),
    Fault.UNAVAILABLE: _complaint(Problem.UNAVAILABLE),
    Fault.OVERLOADED: _complaint(Problem.OVERLOADED),
    Fault.OUTAGE: _outage,
    Fault.UNAUTHORIZED: _complaint(Problem.UNAUTHORIZED),
    Fault.FORBIDDEN: _complaint(Problem.FORBIDDEN),
    Fault.NOT_FOUND: _complaint(Problem.NOT_FOUND),
    Fault.BAD_REQUEST: _complaint(Problem.BAD_REQUEST),
    Fault.CONTEXT_EXCEEDED: _complaint(Problem.CONTEXT_EXCEEDED),
    Fault.CONTENT_POLICY: _content_policy,
    Fault.PREFILL_REJECTED: _prefill_rejected,
    Fault.REDIRECT: _redirect,
    Fault.RESET: _reset,
    Fault.STALE_KEEP_ALIVE: _stale_keep_alive,
    Fault.SILENCE: _silence,
    Fault.SILENCE_AFTER_HEAD: _silence_after_head,
    Fault.SLOW_FIRST_TOKEN: _slow_first_token,
    Fault.SLOW_BODY: _slow_body,
    Fault.CUT: _cut,
    Fault.CUT_BY_RESET: partial(_cut, by_reset=True),
    Fault.CUT_CLEANLY: _cut_cleanly,
    Fault.STALL: _stall,
    Fault.MALFORMED: _malformed,
    Fault.HTML: _html,
    Fault.NO_END_MARK: _no_end_mark,
    Fault.ERROR_AFTER_HEAD: _error_after_head,
    Fault.ERROR_IN_STREAM: _error_in_stream,
    Fault.BYTE_BY_BYTE: _byte_by_byte,
    Fault.LONG_LINE: _long_line,
    Fault.ENDLESS_LINE: _endless_line,
    Fault.UNUSUAL_SSE: _unusual_sse,
    Fault.REFUSAL: _refusal,
    **{fault: partial(_answer_of, given=given) for fault, given in ANSWERS.items()},
}
