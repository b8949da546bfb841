"""Parts of a chat message: text, pictures, sound and documents, from the forms of OpenAI's two chat APIs."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from turnout.errors import invalid_field
from turnout.texts import read_mapping, read_text
from turnout.v1.chat_pb2 import ContentPart, Media


def write_part(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    """Fills an empty part.

    Args:
        part: a part as the chat completions or the responses API have it.
        path: of the part, for errors.
        out: the part to fill.

    Raises:
        InvalidRequestError: a type that the contract has no place for, or data that is not base64.
    """
    kind = part.get("type")
    write = _WRITERS.get(kind) if isinstance(kind, str) else None
    if write is None:
        raise invalid_field(f"{path}.type", kind, ", ".join(_WRITERS))
    write(part, path, out)
    # OpenAI-compatible gateways take the marker in Anthropic's spelling.
    if part.get("cache_control"):
        out.cache_marker = True


def _write_text(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    out.text = read_text(part, "text", path)


def _write_refusal(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    out.text = read_text(part, "refusal", path)


def _write_image(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    out.image.SetInParent()
    source = part.get("image_url")
    if isinstance(source, Mapping):
        _write_source(read_text(source, "url", f"{path}.image_url"), f"{path}.image_url.url", out.image)
    else:
        _write_source(read_text(part, "image_url", path), f"{path}.image_url", out.image)


def _write_audio(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    out.audio.SetInParent()
    path = f"{path}.input_audio"
    sound = read_mapping(part.get("input_audio"), path)
    if data := read_text(sound, "data", path):
        out.audio.data = _decode_base64(data, f"{path}.data")
    if form := read_text(sound, "format", path):
        out.audio.media_type = f"audio/{form}"


def _write_file(part: Mapping[str, Any], path: str, out: ContentPart) -> None:
    # A file known by its id alone has no source; that there is one is what a decision needs to know.
    out.file.SetInParent()
    file = read_mapping(part["file"], f"{path}.file") if "file" in part else part
    if data := read_text(file, "file_data", path):
        _write_source(data, f"{path}.file_data", out.file)
    elif url := read_text(file, "file_url", path):
        _write_source(url, f"{path}.file_url", out.file)


_WRITERS: Mapping[str, Callable[[Mapping[str, Any], str, ContentPart], None]] = {
    "text": _write_text,
    "input_text": _write_text,
    "output_text": _write_text,
    "refusal": _write_refusal,
    "image_url": _write_image,
    "input_image": _write_image,
    "input_audio": _write_audio,
    "file": _write_file,
    "input_file": _write_file,
}


def _write_source(address: str, path: str, media: Media) -> None:
    """A data URL becomes its bytes (RFC 2397); any other address stays one, and the service judges it."""
    if not address:
        return
    if address[:5].lower() != "data:":
        media.uri = address
        return
    head, _, data = address[5:].partition(",")
    media_type, *parameters = head.split(";")
    media.media_type = media_type
    if "base64" in parameters:
        media.data = _decode_base64(data, path)
    else:
        media.data = unquote_to_bytes(data)


def _decode_base64(data: str, path: str) -> bytes:
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError):
        raise invalid_field(path, f"{len(data)} characters", "base64") from None
