"""What the answer must satisfy: tools and the response format, from the forms of OpenAI's two chat APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turnout.errors import invalid_field
from turnout.texts import clean_text, read_mapping, read_text
from turnout.v1.chat_pb2 import ResponseFormat, Tool

if TYPE_CHECKING:
    from google.protobuf.internal.containers import RepeatedCompositeFieldContainer


def write_tool(
    tool: Mapping[str, Any] | Tool, path: str, tools: RepeatedCompositeFieldContainer[Tool]
) -> None:
    """Appends a tool; one that is built into a provider goes by its type.

    Raises:
        InvalidRequestError: the tool has no name.
    """
    if isinstance(tool, Tool):
        tools.append(tool)
        return
    tool = read_mapping(tool, path)
    inner = next((tool[key] for key in ("function", "custom") if key in tool), tool)
    described = read_mapping(inner, path)
    name = read_text(described, "name", path) or read_text(tool, "type", path)
    if not name:
        raise invalid_field(f"{path}.name", "none", "1 to 128 bytes")
    tools.add(
        name=name,
        description=read_text(described, "description", path),
        parameters_json_schema=_write_schema(described.get("parameters")),
    )


def write_response_format(
    response_format: Mapping[str, Any] | ResponseFormat, path: str, out: ResponseFormat
) -> None:
    """Fills an empty response format; the type "text" asks for nothing.

    Raises:
        InvalidRequestError: a type that the contract does not know.
    """
    if isinstance(response_format, ResponseFormat):
        out.CopyFrom(response_format)
        return
    kind = read_mapping(response_format, path).get("type")
    if kind == "json_object":
        out.json_object.SetInParent()
    elif kind == "json_schema":
        described = read_mapping(response_format.get("json_schema", response_format), path)
        out.json_schema.name = read_text(described, "name", path)
        out.json_schema.schema_json = _write_schema(described.get("schema"))
        out.json_schema.strict = bool(described.get("strict"))
    elif kind != "text":
        raise invalid_field(f"{path}.type", kind, "text, json_object or json_schema")


def _write_schema(schema: object) -> str:
    """A JSON Schema as JSON text; text is taken for JSON text."""
    if schema is None:
        return ""
    if isinstance(schema, str):
        return clean_text(schema)
    return clean_text(json.dumps(schema, ensure_ascii=False, separators=(",", ":")))
