"""One HTTP request of a gateway: Envoy's messages in, Envoy's messages out. No gRPC, no waiting.

A chat request whose model is `auto`, or `auto:<policy>`, is decided: the model is rewritten, headers say what was decided,
and the route is chosen anew. Of everything else nothing is changed but that headers of these names, which only a decision
may set, are taken away.
"""

# xds-protos has no py.typed.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.ext_proc.v3.external_processor_pb2 import (
    BodyMutation,
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    HttpBody,
    HttpHeaders,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from envoy.type.v3.http_status_pb2 import HttpStatus
from turnout_fastpath import Decision, Reason, Request, RouteError

from turnout_server.doors.errors import Failure, describe_failure
from turnout_server.doors.ext_proc.chat_body import (
    ChatWire,
    model_in_path,
    path_with_model,
    read_chat,
    wire_of,
)
from turnout_server.doors.ext_proc.json_text import close_cut, replace_texts, spans_of
from turnout_server.doors.ext_proc.outcomes import Outcome
from turnout_server.doors.ext_proc.refusals import http_status, write_refusal
from turnout_server.doors.ext_proc.usage import ResponseTail

AUTO = "auto"
PREFIX = "x-turnout-"
TIER, MODEL, DEPLOYMENT = f"{PREFIX}tier", f"{PREFIX}model", f"{PREFIX}deployment"
DECISION_ID, STATUS = f"{PREFIX}decision-id", f"{PREFIX}status"
OURS = (TIER, MODEL, DEPLOYMENT, DECISION_ID, STATUS)
# Who asks, in the request's headers, as the gateway sets them; the names of `turnout_fastpath.Request`.
CALLER = {
    f"{PREFIX}tenant": "tenant",
    f"{PREFIX}user-tier": "user_tier",
    f"{PREFIX}feature": "feature",
    f"{PREFIX}session-id": "session_id",
    f"{PREFIX}policy": "policy",
    f"{PREFIX}min-tier": "min_tier",
    f"{PREFIX}max-tier": "max_tier",
}
# Of a body that only the beginning is known of, tokens are estimated from its size.
BYTES_PER_TOKEN = 4
UNREAD = "unread"

_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


class Decides(Protocol):
    """What the processor asks."""

    def decide(self, request: Request) -> Decision:
        """Decides, and counts nothing; raises RouteError."""
        ...

    def model_of(self, deployment: str) -> str:
        """The provider's name of a deployment's model."""
        ...


@dataclass(frozen=True)
class Setting:
    """What all requests share.

    Attributes:
        decides: what is asked.
        refuse: why nothing is decided now; None: it is.
        ended: told what became of a request that was decided.
    """

    decides: Decides
    refuse: Callable[[], Exception | None]
    ended: Callable[[Outcome], None]


class Processor:
    """One stream of Envoy's: one HTTP request, and its response."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._wire: ChatWire | None = None
        self._path = ""
        self._content_length = 0
        self._encoded = False
        self._caller: dict[str, str] = {}
        self._outcome: Outcome | None = None
        self._tail: ResponseTail | None = None
        self._body_seen = False
        self._fresh: Decision | None = None

    @property
    def awaits_decision(self) -> bool:
        """Whether a chat request has begun and its body has not come."""
        return self._wire is not None and not self._body_seen

    def process(self, message: ProcessingRequest) -> ProcessingResponse:
        """The answer to one message."""
        answer = _ANSWERS.get(message.WhichOneof("request"))
        return ProcessingResponse() if answer is None else answer(self, message)

    def take_decision(self) -> Decision | None:
        """What the last message made it decide, once, for it to be counted."""
        fresh, self._fresh = self._fresh, None
        return fresh

    def close(self) -> None:
        """Envoy has no more to say of this request."""
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            if self._tail is not None and self._wire is not None:
                outcome.usage = self._tail.usage(self._wire)
            self._setting.ended(outcome)

    def _request_headers(self, message: HttpHeaders) -> ProcessingResponse:
        spoofed = []
        method = ""
        for header in message.headers.headers:
            name = header.key
            if name == ":path":
                self._path = _value(header)
            elif name == ":method":
                method = _value(header)
            elif name == "content-length":
                length = _value(header)
                self._content_length = int(length) if length.isdecimal() else 0
            elif name == "content-encoding":
                self._encoded = _value(header).lower() not in ("", "identity")
            elif name.startswith(PREFIX):
                if name in OURS:
                    spoofed.append(name)
                elif field := CALLER.get(name):
                    self._caller[field] = _value(header)
        if method == "POST" and not message.end_of_stream:
            self._wire = wire_of(self._path)
        response = ProcessingResponse(request_headers=HeadersResponse())
        if spoofed:
            common = response.request_headers.response
            common.header_mutation.remove_headers.extend(spoofed)
            # The route may have been chosen by them already.
            common.clear_route_cache = True
        if self._wire is None:
            # Where the gateway allows it, nothing more is asked about this request.
            response.mode_override.CopyFrom(_NOTHING_MORE)
        return response

    def _request_body(self, message: HttpBody) -> ProcessingResponse:
        response = ProcessingResponse(request_body=BodyResponse())
        if self._body_seen or self._wire is None:
            return response
        self._body_seen = True
        try:
            return self._decide(self._wire, message.body, whole=message.end_of_stream) or response
        except Exception as error:
            return self._refuse(self._wire, describe_failure(error))

    def _decide(self, wire: ChatWire, body: bytes, *, whole: bool) -> ProcessingResponse | None:
        """The answer that carries the decision; None where the request is not ours to decide.

        Raises:
            Exception: as `describe_failure` knows them; there is no decision.
        """
        spans: list[tuple[int, int]] = []
        if wire is ChatWire.GEMINI:
            asked = model_in_path(self._path)
        elif self._encoded:
            return _marked_unread()
        else:
            spans = spans_of(body, "model")
            if not spans:
                # The model may stand behind what of the body has come.
                return None if whole else _marked_unread()
            asked = orjson.loads(body[slice(*spans[-1])])
        name, _, policy = asked.partition(":")
        if name != AUTO:
            return None
        if self._encoded:
            return _marked_unread()
        if (refusal := self._setting.refuse()) is not None:
            raise refusal
        document = _parse(body, whole)
        fields: dict[str, Any] = {**self._caller, **read_chat(wire, document)}
        if policy:
            fields["policy"] = policy
        if not whole:
            fields["context_tokens"] = self._content_length // BYTES_PER_TOKEN
        decision = self._setting.decides.decide(Request(**fields))
        model = self._setting.decides.model_of(decision.deployment)
        self._fresh = decision
        caller = self._caller
        self._outcome = Outcome(
            decision, wire, tenant=caller.get("tenant", ""), session_id=caller.get("session_id", "")
        )
        common = CommonResponse(clear_route_cache=True, header_mutation=_headers_of(decision, model))
        if wire is ChatWire.GEMINI:
            path = path_with_model(self._path, model)
            common.header_mutation.set_headers.append(_header(":path", path))
        else:
            rewritten = replace_texts(body, spans, model)
            common.body_mutation.CopyFrom(BodyMutation(body=rewritten))
            if whole and self._content_length:
                common.header_mutation.set_headers.append(_header("content-length", str(len(rewritten))))
        return ProcessingResponse(request_body=BodyResponse(response=common))

    def _refuse(self, wire: ChatWire, failure: Failure) -> ProcessingResponse:
        self._wire = None
        headers = HeaderMutation(
            set_headers=[
                _header("content-type", "application/json"),
                _header(STATUS, failure.reason_name.lower()),
            ]
        )
        if failure.retry_after_s is not None:
            headers.set_headers.append(
                _header("retry-after-ms", str(max(1, round(failure.retry_after_s * 1000))))
            )
            headers.set_headers.append(_header("retry-after", str(max(1, round(failure.retry_after_s)))))
        return ProcessingResponse(
            immediate_response=ImmediateResponse(
                status=HttpStatus(code=http_status(failure)),
                headers=headers,
                body=write_refusal(wire, failure),
                details=f"turnout_{failure.reason_name.lower()}",
            )
        )

    def _response_headers(self, message: HttpHeaders) -> ProcessingResponse:
        if self._outcome is not None:
            values = {header.key: _value(header) for header in message.headers.headers}
            status = values.get(":status", "")
            self._outcome.status = int(status) if status.isdecimal() else 0
            if values.get("content-encoding", "identity").lower() == "identity":
                self._tail = ResponseTail()
        return ProcessingResponse(response_headers=HeadersResponse())

    def _response_body(self, message: HttpBody) -> ProcessingResponse:
        if self._tail is not None:
            self._tail.add(message.body)
            if message.end_of_stream:
                self.close()
        return ProcessingResponse(response_body=BodyResponse())


_ANSWERS: Mapping[str | None, Callable[[Processor, ProcessingRequest], ProcessingResponse]] = {
    "request_headers": lambda self, one: self._request_headers(one.request_headers),
    "request_body": lambda self, one: self._request_body(one.request_body),
    "request_trailers": lambda *_: ProcessingResponse(request_trailers=TrailersResponse()),
    "response_headers": lambda self, one: self._response_headers(one.response_headers),
    "response_body": lambda self, one: self._response_body(one.response_body),
    "response_trailers": lambda *_: ProcessingResponse(response_trailers=TrailersResponse()),
}

_NOTHING_MORE = ProcessingMode(
    request_body_mode=ProcessingMode.NONE,
    request_trailer_mode=ProcessingMode.SKIP,
    response_header_mode=ProcessingMode.SKIP,
    response_body_mode=ProcessingMode.NONE,
    response_trailer_mode=ProcessingMode.SKIP,
)


def _parse(body: bytes, whole: bool) -> Mapping[str, Any]:
    """The body's object.

    Raises:
        RouteError: it is none.
    """
    try:
        document = orjson.loads(body if whole else close_cut(body))
    except orjson.JSONDecodeError:
        raise RouteError(Reason.INVALID_FIELD, "body", value="no JSON", limit="a JSON object") from None
    if not isinstance(document, dict):
        raise RouteError(Reason.INVALID_FIELD, "body", value=type(document).__name__, limit="a JSON object")
    return document


def _headers_of(decision: Decision, model: str) -> HeaderMutation:
    return HeaderMutation(
        set_headers=[
            _header(TIER, decision.tier),
            _header(MODEL, model),
            _header(DEPLOYMENT, decision.deployment),
            _header(DECISION_ID, decision.decision_id),
            _header(STATUS, decision.status.name.lower()),
        ]
    )


def _marked_unread() -> ProcessingResponse:
    """Nothing is changed but for a header that says that the body could not be read."""
    common = CommonResponse(header_mutation=HeaderMutation(set_headers=[_header(STATUS, UNREAD)]))
    return ProcessingResponse(request_body=BodyResponse(response=common))


def _header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, raw_value=value.encode()),
        append_action=_OVERWRITE,
    )


def _value(header: HeaderValue) -> str:
    raw: bytes = header.raw_value
    text: str = header.value
    return raw.decode("utf-8", "replace") if raw else text
