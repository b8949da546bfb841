"""What the Python client makes of prompts, chat messages and keywords."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from turnout import AnswerUse, ErrorReason, InvalidRequestError, RequestFields, build_request
from turnout.v1 import chat_pb2, routing_pb2


def test_a_prompt_is_sent_even_if_empty() -> None:
    assert build_request("how?") == routing_pb2.RouteRequest(prompt="how?")
    assert build_request("").HasField("prompt")


def test_every_keyword_has_its_field() -> None:
    request = build_request(
        "how?",
        policy="default",
        explain=True,
        decision_id="0" * 32,
        tenant="acme",
        user_tier="pro",
        feature="chat",
        session_id="s1",
        labels={"team": "a", "stage": "b"},
        min_tier="small",
        max_tier="mid",
        allowed_deployments=["mid-a"],
        allowed_regions=("eu", "us"),
        max_cost_usd=0.5,
        quality_bar=0.0,
        expected_output_tokens=100,
        context_tokens=4096,
        answer_use=AnswerUse.PROGRAM,
        tools=[{"type": "function", "function": {"name": "look_up"}}],
        response_format={"type": "json_object"},
    )
    assert request == routing_pb2.RouteRequest(
        prompt="how?",
        policy="default",
        explain=True,
        decision_id="0" * 32,
        caller=routing_pb2.CallerContext(
            tenant="acme",
            user_tier="pro",
            feature="chat",
            session_id="s1",
            labels={"team": "a", "stage": "b"},
        ),
        constraints=routing_pb2.RouteConstraints(
            min_tier="small",
            max_tier="mid",
            allowed_deployments=["mid-a"],
            allowed_regions=["eu", "us"],
            max_cost_usd=0.5,
            quality_bar=0.0,
        ),
        requirements=routing_pb2.OutputRequirements(
            expected_output_tokens=100,
            context_tokens=4096,
            answer_use=routing_pb2.ANSWER_USE_PROGRAM,
            tools=[chat_pb2.Tool(name="look_up")],
            response_format=chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat()),
        ),
    )
    assert request.constraints.HasField("quality_bar")


def test_the_keywords_are_those_of_the_contract() -> None:
    nested = {"caller", "constraints", "requirements"}
    fields = {field.name for field in routing_pb2.RouteRequest.DESCRIPTOR.fields} - {"prompt", "messages"}
    for message in (
        routing_pb2.CallerContext,
        routing_pb2.RouteConstraints,
        routing_pb2.OutputRequirements,
    ):
        fields |= {field.name for field in message.DESCRIPTOR.fields}
    assert set(RequestFields.__annotations__) == fields - nested


def test_none_is_the_same_as_leaving_out() -> None:
    nothing: Any = dict.fromkeys(RequestFields.__annotations__)
    assert build_request("how?", **nothing) == build_request("how?")


def test_a_built_request_is_returned_as_it_is() -> None:
    request = build_request("how?")
    assert build_request(request) is request
    with pytest.raises(TypeError, match="neither messages nor further fields"):
        build_request(request, tenant="acme")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [({}, "prompt"), ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "messages")],
)
def test_one_of_prompt_and_messages_is_needed(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        build_request(**arguments)
    assert (caught.value.reason, caught.value.field) == (ErrorReason.PROMPT_REQUIRED, field)


def test_messages_in_the_form_of_the_chat_completions_api() -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "No jokes."},
        {"role": "user", "content": "how?", "name": "ann"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": '{"q": 1}'}},
                {"id": "c2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "found"},
        {"content": "and now?"},
        ("assistant", "this"),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content="last"),
    ]
    assert list(build_request(messages=messages).messages) == [
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_SYSTEM, content="Be brief."),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_DEVELOPER, content="No jokes."),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content="how?", name="ann"),
        chat_pb2.ChatMessage(
            role=chat_pb2.ROLE_ASSISTANT,
            tool_calls=[
                chat_pb2.ToolCall(id="c1", name="look_up", arguments_json='{"q": 1}'),
                chat_pb2.ToolCall(id="c2", name="shell", arguments_json="ls"),
            ],
        ),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_TOOL, tool_call_id="c1", content="found"),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content="and now?"),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_ASSISTANT, content="this"),
        chat_pb2.ChatMessage(role=chat_pb2.ROLE_USER, content="last"),
    ]


PICTURE = b"\x89PNG"
PICTURE_URL = f"data:image/png;base64,{base64.b64encode(PICTURE).decode()}"
PNG = chat_pb2.Media(data=PICTURE, media_type="image/png")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "text", "text": "a"}, chat_pb2.ContentPart(text="a")),
        ({"type": "input_text", "text": "a"}, chat_pb2.ContentPart(text="a")),
        ({"type": "output_text", "text": "a"}, chat_pb2.ContentPart(text="a")),
        ({"type": "refusal", "refusal": "no"}, chat_pb2.ContentPart(text="no")),
        (
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            chat_pb2.ContentPart(text="a", cache_marker=True),
        ),
        (
            {"type": "image_url", "image_url": {"url": "https://a.test/b.png"}},
            chat_pb2.ContentPart(image=chat_pb2.Media(uri="https://a.test/b.png")),
        ),
        ({"type": "image_url", "image_url": {"url": PICTURE_URL}}, chat_pb2.ContentPart(image=PNG)),
        ({"type": "input_image", "image_url": PICTURE_URL}, chat_pb2.ContentPart(image=PNG)),
        (
            {"type": "image_url", "image_url": {"url": "data:text/plain,a%20b"}},
            chat_pb2.ContentPart(image=chat_pb2.Media(data=b"a b", media_type="text/plain")),
        ),
        ({"type": "input_image", "file_id": "f1"}, chat_pb2.ContentPart(image=chat_pb2.Media())),
        (
            {
                "type": "input_audio",
                "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"},
            },
            chat_pb2.ContentPart(audio=chat_pb2.Media(data=b"RIFF", media_type="audio/wav")),
        ),
        ({"type": "file", "file": {"file_data": PICTURE_URL}}, chat_pb2.ContentPart(file=PNG)),
        ({"type": "file", "file": {"file_id": "f1"}}, chat_pb2.ContentPart(file=chat_pb2.Media())),
        (
            {"type": "input_file", "file_url": "https://a.test/b.pdf"},
            chat_pb2.ContentPart(file=chat_pb2.Media(uri="https://a.test/b.pdf")),
        ),
    ],
)
def test_parts(part: dict[str, Any], expected: chat_pb2.ContentPart) -> None:
    [message] = build_request(messages=[{"role": "user", "content": [part]}]).messages
    assert list(message.parts) == [expected]
    assert not message.content


SCHEMA = {"type": "object", "properties": {"é": {"type": "string"}}}
SCHEMA_JSON = '{"type":"object","properties":{"é":{"type":"string"}}}'


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        (
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}},
            chat_pb2.Tool(name="f", description="d", parameters_json_schema=SCHEMA_JSON),
        ),
        (
            {"type": "function", "name": "f", "parameters": SCHEMA_JSON},
            chat_pb2.Tool(name="f", parameters_json_schema=SCHEMA_JSON),
        ),
        ({"type": "custom", "custom": {"name": "shell"}}, chat_pb2.Tool(name="shell")),
        ({"type": "web_search"}, chat_pb2.Tool(name="web_search")),
        (chat_pb2.Tool(name="f"), chat_pb2.Tool(name="f")),
    ],
)
def test_tools(tool: Any, expected: chat_pb2.Tool) -> None:
    assert list(build_request("a", tools=[tool]).requirements.tools) == [expected]


@pytest.mark.parametrize(
    ("response_format", "expected"),
    [
        ({"type": "text"}, chat_pb2.ResponseFormat()),
        ({"type": "json_object"}, chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat())),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
            chat_pb2.ResponseFormat(
                json_schema=chat_pb2.JsonSchemaFormat(name="n", schema_json=SCHEMA_JSON, strict=True)
            ),
        ),
        (
            {"type": "json_schema", "name": "n", "schema": SCHEMA},
            chat_pb2.ResponseFormat(json_schema=chat_pb2.JsonSchemaFormat(name="n", schema_json=SCHEMA_JSON)),
        ),
        (
            chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat()),
            chat_pb2.ResponseFormat(json_object=chat_pb2.JsonObjectFormat()),
        ),
    ],
)
def test_response_formats(response_format: Any, expected: chat_pb2.ResponseFormat) -> None:
    assert build_request("a", response_format=response_format).requirements.response_format == expected


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"messages": [{"role": "user", "content": "a"}, {"role": "robot"}]}, "messages[1].role"),
        ({"messages": [{"role": 1}]}, "messages[0].role"),
        ({"messages": ["a"]}, "messages[0]"),
        ({"messages": [{"content": 7}]}, "messages[0].content"),
        ({"messages": [{"content": ["a"]}]}, "messages[0].content[0]"),
        ({"messages": [{"content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"content": [{"text": "a"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"content": [{"type": "text", "text": 1}]}]}, "messages[0].content[0].text"),
        (
            {"messages": [{"content": [{"type": "image_url", "image_url": "data:;base64,a"}]}]},
            "messages[0].content[0].image_url",
        ),
        (
            {"messages": [{"content": [{"type": "input_audio", "input_audio": {"data": "a"}}]}]},
            "messages[0].content[0].input_audio.data",
        ),
        (
            {"messages": [{"tool_calls": [{"id": "a", "function": "f"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        ({"prompt": "a", "expected_output_tokens": -1}, "requirements.expected_output_tokens"),
        ({"prompt": "a", "context_tokens": 1 << 40}, "requirements.context_tokens"),
        ({"prompt": "a", "answer_use": 1 << 40}, "requirements.answer_use"),
        ({"prompt": "a", "tools": [{}]}, "requirements.tools[0].name"),
        ({"prompt": "a", "response_format": {"type": "xml"}}, "requirements.response_format.type"),
    ],
)
def test_what_cannot_be_sent_names_its_field(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        build_request(**arguments)
    assert (caught.value.reason, caught.value.field) == (ErrorReason.INVALID_FIELD, field)
    assert caught.value.limit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": b"a"}, "prompt: a str is needed, not bytes"),
        ({"prompt": "a", "tennant": "b"}, "unexpected keyword argument 'tennant'; known: policy, explain"),
        ({"prompt": "a", "tenant": 7}, "caller.tenant: a str is needed, not int"),
        ({"prompt": "a", "labels": {"a": 1}}, "caller.labels: a str is needed, not int"),
        ({"prompt": "a", "allowed_regions": "eu"}, "constraints.allowed_regions: a sequence of names"),
        ({"prompt": "a", "allowed_regions": [1]}, "constraints.allowed_regions: a str is needed, not int"),
        ({"prompt": "a", "max_cost_usd": "1"}, "constraints.max_cost_usd: a number is needed"),
        ({"messages": [("user", 1)]}, r"messages\[0\]: a str is needed, not int"),
    ],
)
def test_wrong_types_are_type_errors(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build_request(**arguments)


def test_unknown_answer_uses_are_passed_on() -> None:
    assert build_request("a", answer_use=77).requirements.answer_use == 77


def test_lone_surrogates_are_sent_as_the_engine_reads_them() -> None:
    strange = "a\ud800b\x00é"
    clean = "a\ufffd\ufffd\ufffdb\x00é"
    request = build_request(strange, tenant=strange, labels={strange: strange}, allowed_regions=[strange])
    assert request.prompt == clean
    assert request.caller.tenant == clean
    assert dict(request.caller.labels) == {clean: clean}
    assert list(request.constraints.allowed_regions) == [clean]
    messages: list[Any] = [
        {"role": "user", "content": strange},
        {"content": [{"type": "text", "text": strange}]},
    ]
    request = build_request(messages=messages)
    assert [request.messages[0].content, request.messages[1].parts[0].text] == [clean, clean]
