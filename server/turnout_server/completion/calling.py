"""Makes one upstream call, and tells the breakers and the request's log what became of it.

Every call is streamed, so that silence is found by the first token and what had come of a cut answer is known.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from turnout_server.completion.attempt import Purpose
from turnout_server.completion.attempts import Attempt
from turnout_server.completion.run import Answer, Listener, Run
from turnout_server.providers.chat import ChatResponse, Finished, FinishReason, StreamEvent, UsageUpdate
from turnout_server.providers.collecting import ResponseCollector
from turnout_server.providers.faults import FaultKind
from turnout_server.providers.protocol import Limits, Provider, ProviderCall, UpstreamError
from turnout_server.resilience.breakers import Permit
from turnout_server.resilience.clock import Clock


class Caller:
    """Calls providers, by the name that deployments give."""

    def __init__(self, providers: Mapping[str, Provider], clock: Clock) -> None:
        """Nothing is under way; `clock` is of the attempts."""
        self._providers = providers
        self._clock = clock

    async def call(
        self,
        run: Run,
        permit: Permit,
        purpose: Purpose,
        listener: Listener | None,
        first_token_s: float,
        on_first_token: Callable[[], None] = lambda: None,
    ) -> Answer | Attempt:
        """Makes one upstream call; the attempt alone if it failed.

        Args:
            run: the request.
            permit: leave to make the call.
            purpose: of the attempt.
            listener: sees the answer as it comes.
            first_token_s: most seconds to its first token.
            on_first_token: told of that, before the listener is.
        """
        deployment = run.fleet[permit.deployment]
        attempt = Attempt(
            deployment,
            run.fleet.price(deployment),
            purpose,
            run.log.now_ns(),
            int(self._clock.unix_s() * 1000),
        )
        run.log.attempts.append(attempt)
        collector = ResponseCollector()
        limits = _limits(run, first_token_s, deployment.inter_token_s)
        call = ProviderCall(deployment.target, run.chat, limits, attempt=len(run.log.attempts) - 1)
        pulse = run.fleet.pulse(permit.deployment)
        number = pulse.begin()

        def first_token() -> None:
            pulse.first_token(number)
            on_first_token()

        try:
            provider = self._providers.get(deployment.target.provider)
            if provider is None:
                raise UpstreamError(FaultKind.CONFIGURATION, field="provider")
            stream = provider.stream(call)
            await self._read(run, stream, attempt, collector, listener, first_token)
            answer = collector.response()
            _raise_blocked(answer)
        except UpstreamError as error:
            pulse.end(number)
            attempt.fail(error, run.log.now_ns(), run.input_tokens)
            run.access.fail(permit, error.kind, error.retry_after_s)
            return attempt
        except BaseException:
            # The caller went away, in whatever way: the stream is closed, which aborts the socket.
            pulse.end(number)
            attempt.cancel(run.log.now_ns(), run.input_tokens)
            run.access.release(permit)
            raise
        pulse.end(number, whole=True)
        attempt.succeed(answer, run.log.now_ns(), run.input_tokens)
        run.access.succeed(permit)
        return Answer(answer, attempt)

    async def _read(
        self,
        run: Run,
        stream: AsyncGenerator[StreamEvent, None],
        attempt: Attempt,
        collector: ResponseCollector,
        listener: Listener | None,
        first_token: Callable[[], None],
    ) -> None:
        heard = False
        async with aclosing(stream):
            async for event in stream:
                collector.add(event)
                attempt.see(event, run.log.now_ns)
                if not heard and attempt.first_token_ns is not None:
                    heard = True
                    first_token()
                if listener is None or isinstance(event, Finished):
                    continue
                if not isinstance(event, UsageUpdate):
                    run.log.content_given = True
                await listener.content(event)


def _limits(run: Run, first_token_s: float, inter_token_s: float) -> Limits:
    deadline = run.asked.deadline
    ends_s = deadline.ends_s - deadline.reserve_s
    return Limits(
        deadline=None if math.isinf(ends_s) else ends_s,
        first_token_s=first_token_s,
        inter_token_s=inter_token_s,
    )


def _raise_blocked(answer: ChatResponse) -> None:
    """A filter before which the model said nothing has refused the request, however the wire format says so."""
    said = answer.text or answer.tool_calls or answer.refusal or answer.reasoning
    counted = answer.usage is not None and answer.usage.output_total
    if answer.finish_reason is FinishReason.CONTENT_FILTER and not said and not counted:
        raise UpstreamError(
            FaultKind.CONTENT_POLICY,
            http_status=200,
            native_code=answer.native_finish_reason,
            bytes_seen=True,
            usage=answer.usage,
            request_id=answer.request_id,
        )
