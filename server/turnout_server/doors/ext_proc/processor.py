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
    BodyResponse,
    CommonResponse,
    HeaderMutation,
    HeadersResponse,
    ImmediateResponse,
    ProcessingRequest,
    ProcessingResponse,
    TrailersResponse,
)
from envoy.type.v3.http_status_pb2 import HttpStatus
from google.protobuf.message import DecodeError
from turnout_fastpath import Decision, Reason, Request, RouteError

from turnout_server.doors.compiled.json_tokens import spans_of
from turnout_server.doors.compiled.processing import Message, read_message, write_routed
from turnout_server.doors.errors import Failure, MalformedRequestError, describe_failure
from turnout_server.doors.ext_proc.chat_body import (
    ChatWire,
    model_in_path,
    path_with_model,
    read_chat,
    wire_of,
)
from turnout_server.doors.ext_proc.json_text import close_cut, replace_texts
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

_PREFIX_BYTES = PREFIX.encode()
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
        self._is_observed = False
        self._fresh: Decision | None = None

    @property
    def awaits_decision(self) -> bool:
        """Whether a chat request has begun and its body has not come."""
        return self._wire is not None and not self._body_seen

    def process(self, message: bytes) -> bytes:
        """The ProcessingResponse to one ProcessingRequest.

        Raises:
            MalformedRequestError: the message is none.
        """
        try:
            asked = read_message(message, _PREFIX_BYTES)
        except DecodeError:
            raise MalformedRequestError("") from None
        answer = _ANSWERS.get(asked.kind)
        return b"" if answer is None else answer(self, asked)

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

    def _request_headers(self, message: Message) -> bytes:
        headers = message.headers
        self._is_observed = message.is_observed
        self._path = headers.get(":path", "")
        length = headers.get("content-length", "")
        self._content_length = int(length) if length.isdecimal() else 0
        self._encoded = headers.get("content-encoding", "").lower() not in ("", "identity")
        spoofed = []
        for name, value in message.named.items():
            if name in OURS:
                spoofed.append(name)
            elif field := CALLER.get(name):
                self._caller[field] = value
        if headers.get(":method") == "POST" and not message.end_of_stream:
            self._wire = wire_of(self._path)
        if spoofed:
            return _without(spoofed, None if self._wire is not None else _NOTHING_MORE)
        return _GO_ON[_REQUEST_HEADERS] if self._wire is not None else _ASK_NOTHING_MORE

    def _request_body(self, message: Message) -> bytes:
        unchanged = _GO_ON[_REQUEST_BODY]
        if self._body_seen or self._wire is None:
            return unchanged
        self._body_seen = True
        try:
            return self._decide(self._wire, message.body, whole=message.end_of_stream) or unchanged
        except Exception as error:
            return self._refuse(self._wire, describe_failure(error))

    def _decide(self, wire: ChatWire, body: bytes, *, whole: bool) -> bytes | None:
        """The answer that carries the decision; None where the request is not ours to decide.

        Raises:
            Exception: as `describe_failure` knows them; there is no decision.
        """
        spans: list[tuple[int, int]] = []
        if wire is ChatWire.GEMINI:
            asked = model_in_path(self._path)
        elif self._encoded:
            return _MARKED_UNREAD
        else:
            spans = spans_of(body, "model")
            if not spans:
                # The model may stand behind what of the body has come.
                return None if whole else _MARKED_UNREAD
            asked = _text_of(body[slice(*spans[-1])])
        name, _, policy = asked.partition(":")
        if name != AUTO:
            return None
        if self._encoded:
            return _MARKED_UNREAD
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
        if not self._is_observed:
            caller = self._caller
            self._outcome = Outcome(
                decision, wire, tenant=caller.get("tenant", ""), session_id=caller.get("session_id", "")
            )
        headers = _headers_of(decision, model)
        if wire is ChatWire.GEMINI:
            path = path_with_model(self._path, model)
            return write_routed((*headers, (b":path", path.encode())), None)
        rewritten = replace_texts(body, spans, model)
        if whole and self._content_length:
            headers = (*headers, (b"content-length", b"%d" % len(rewritten)))
        return write_routed(headers, rewritten)

    def _refuse(self, wire: ChatWire, failure: Failure) -> bytes:
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
        return _bytes_of(
            ProcessingResponse(
                immediate_response=ImmediateResponse(
                    status=HttpStatus(code=http_status(failure)),
                    headers=headers,
                    body=write_refusal(wire, failure),
                    details=f"turnout_{failure.reason_name.lower()}",
                )
            )
        )

    def _response_headers(self, message: Message) -> bytes:
        if self._outcome is not None:
            headers = message.headers
            status = headers.get(":status", "")
            self._outcome.status = int(status) if status.isdecimal() else 0
            if headers.get("content-encoding", "identity").lower() == "identity":
                self._tail = ResponseTail()
        return _GO_ON[_RESPONSE_HEADERS]

    def _response_body(self, message: Message) -> bytes:
        if self._tail is not None:
            self._tail.add(message.body)
            if message.end_of_stream:
                self.close()
        return _GO_ON[_RESPONSE_BODY]


def _bytes_of(response: ProcessingResponse) -> bytes:
    written: bytes = response.SerializeToString()
    return written


# Numbers of the messages' fields in ProcessingRequest.
_REQUEST_HEADERS = ProcessingRequest.REQUEST_HEADERS_FIELD_NUMBER
_REQUEST_BODY = ProcessingRequest.REQUEST_BODY_FIELD_NUMBER
_REQUEST_TRAILERS = ProcessingRequest.REQUEST_TRAILERS_FIELD_NUMBER
_RESPONSE_HEADERS = ProcessingRequest.RESPONSE_HEADERS_FIELD_NUMBER
_RESPONSE_BODY = ProcessingRequest.RESPONSE_BODY_FIELD_NUMBER
_RESPONSE_TRAILERS = ProcessingRequest.RESPONSE_TRAILERS_FIELD_NUMBER

# The answers that change nothing.
_GO_ON: Mapping[int, bytes] = {
    _REQUEST_HEADERS: _bytes_of(ProcessingResponse(request_headers=HeadersResponse())),
    _REQUEST_BODY: _bytes_of(ProcessingResponse(request_body=BodyResponse())),
    _REQUEST_TRAILERS: _bytes_of(ProcessingResponse(request_trailers=TrailersResponse())),
    _RESPONSE_HEADERS: _bytes_of(ProcessingResponse(response_headers=HeadersResponse())),
    _RESPONSE_BODY: _bytes_of(ProcessingResponse(response_body=BodyResponse())),
    _RESPONSE_TRAILERS: _bytes_of(ProcessingResponse(response_trailers=TrailersResponse())),
}

_ANSWERS: Mapping[int, Callable[[Processor, Message], bytes]] = {
    _REQUEST_HEADERS: Processor._request_headers,
    _REQUEST_BODY: Processor._request_body,
    _REQUEST_TRAILERS: lambda *_: _GO_ON[_REQUEST_TRAILERS],
    _RESPONSE_HEADERS: Processor._response_headers,
    _RESPONSE_BODY: Processor._response_body,
    _RESPONSE_TRAILERS: lambda *_: _GO_ON[_RESPONSE_TRAILERS],
}

_NOTHING_MORE = ProcessingMode(
    request_body_mode=ProcessingMode.NONE,
    request_trailer_mode=ProcessingMode.SKIP,
    response_header_mode=ProcessingMode.SKIP,
    response_body_mode=ProcessingMode.NONE,
    response_trailer_mode=ProcessingMode.SKIP,
)


# Where the gateway allows it, nothing more is asked about this request.
_ASK_NOTHING_MORE = _bytes_of(
    ProcessingResponse(request_headers=HeadersResponse(), mode_override=_NOTHING_MORE)
)


def _without(spoofed: list[str], mode: ProcessingMode | None) -> bytes:
    """Request headers go on without these."""
    # The route may have been chosen by them already.
    common = CommonResponse(header_mutation=HeaderMutation(remove_headers=spoofed), clear_route_cache=True)
    return _bytes_of(ProcessingResponse(request_headers=HeadersResponse(response=common), mode_override=mode))


def _text_of(quoted: bytes) -> str:
    """A text of JSON; of what is none, such as half a surrogate, nothing: it names no model of ours."""
    try:
        text: str = orjson.loads(quoted)
    except orjson.JSONDecodeError:
        return ""
    return text


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


def _headers_of(decision: Decision, model: str) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (_TIER_NAME, decision.tier.encode()),
        (_MODEL_NAME, model.encode()),
        (_DEPLOYMENT_NAME, decision.deployment.encode()),
        (_DECISION_ID_NAME, decision.decision_id.encode()),
        (_STATUS_NAME, decision.status.name.lower().encode()),
    )


_TIER_NAME, _MODEL_NAME, _DEPLOYMENT_NAME, _DECISION_ID_NAME, _STATUS_NAME = (name.encode() for name in OURS)


def _header(name: str, value: str) -> HeaderValueOption:
    return HeaderValueOption(
        header=HeaderValue(key=name, raw_value=value.encode()),
        append_action=_OVERWRITE,
    )


# Nothing is changed but for a header that says that the body could not be read.
_MARKED_UNREAD = _bytes_of(
    ProcessingResponse(
        request_body=BodyResponse(
            response=CommonResponse(header_mutation=HeaderMutation(set_headers=[_header(STATUS, UNREAD)]))
        )
    )
)
