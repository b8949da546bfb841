"""Structured logs: events in the past tense, one line each, never a prompt's text."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from typing import Any, BinaryIO, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from turnout_server.settings import LogFormat, LogLevel

LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


def configure_logs(level: LogLevel, layout: LogFormat, stream: TextIO | None = None) -> None:
    """Sets up the process's logs, those of libraries included.

    Args:
        level: the least severity that is written.
        layout: JSON lines, or lines for a person's terminal.
        stream: where lines go; None means standard output.
    """
    out = sys.stdout if stream is None else stream
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]
    factory: Any
    if layout is LogFormat.JSON:
        processors.append(structlog.processors.JSONRenderer(serializer=_to_json))
        factory = structlog.BytesLoggerFactory(file=cast(BinaryIO, _Unfailing(out.buffer)))
    else:
        processors.append(structlog.dev.ConsoleRenderer(colors=out.isatty()))
        factory = structlog.PrintLoggerFactory(file=cast(TextIO, _Unfailing(out)))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=factory,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def get_logger() -> FilteringBoundLogger:
    """The process's logger, as `configure_logs` left it."""
    return cast(FilteringBoundLogger, structlog.get_logger())


def describe_cause(error: BaseException) -> dict[str, Any]:
    """An unexpected error for the log: its class and where it was raised.

    Its message is left out: it may quote the request, as a codec's error quotes the text it failed on.
    """
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


class _Unfailing:
    """A stream whose reader may go away, or whose disk may fill: that must not fail a request."""

    def __init__(self, stream: BinaryIO | TextIO) -> None:
        self._stream: Any = stream

    def write(self, data: bytes | str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(data)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def _add_process(_: Any, __: str, event: EventDict) -> EventDict:
    # Asked for each time: cheap, and right after a fork.
    event["pid"] = os.getpid()
    return event


def _to_json(event: dict[str, Any], **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


class _LibraryHandler(logging.Handler):
    """Lines of libraries that log by the standard library, in the same form; without causes' messages."""

    def emit(self, record: logging.LogRecord) -> None:
        cause = describe_cause(record.exc_info[1]) if record.exc_info and record.exc_info[1] else {}
        message = record.getMessage().partition("\n")[0][:512]
        get_logger().log(record.levelno, "library_logged", library=record.name, message=message, **cause)
