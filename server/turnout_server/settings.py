"""Every knob of the server, read once from the command line and the environment.

The fields of `Settings` are the one table that the command line, `turnout print-config` and docs/settings.md
read.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from turnout_server.knobs import (
    Knob,
    Meaning,
    choice,
    number,
    optional,
    path,
    shared_server,
    store_place,
    switch,
    text,
    whole,
)


class LogLevel(StrEnum):
    """The least severity that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How a log line is written."""

    JSON = "json"
    CONSOLE = "console"


class SettingsError(ValueError):
    """Settings that cannot be used; a line each: `<knob>: <what is wrong> (from <where>; limit: ...)`."""

    def __init__(self, defects: Sequence[str]) -> None:
        self.defects = tuple(defects)
        super().__init__("\n".join(defects))


_PORT = whole(0, 65_535)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The server's settings. `load_settings` checks them; only tests build them by hand."""

    host: Annotated[
        str, Meaning(text("a host name or an address"), "-", "Address that all ports listen on.")
    ] = "0.0.0.0"
    port: Annotated[int, Meaning(_PORT, "TCP port", "Main gRPC port; 0: any free one.")] = 50051
    decision_port: Annotated[
        int | None,
        Meaning(
            optional(_PORT, "off"), "TCP port", "Compiled decision listener; 0: any free port, off: none."
        ),
    ] = 50052
    decision_threads: Annotated[
        int,
        Meaning(
            whole(1, 64), "threads", "Threads of the decision listener, each with connections of its own."
        ),
    ] = 1
    decision_socket: Annotated[
        Path | None,
        Meaning(
            optional(path("a file"), "none"),
            "-",
            "Unix socket that the decision listener serves as well; none: TCP only.",
        ),
    ] = None
    metrics_port: Annotated[
        int | None,
        Meaning(
            optional(_PORT, "off"),
            "TCP port",
            "Metrics and administration over HTTP; 0: any free port, off: none.",
        ),
    ] = 9464
    workers: Annotated[
        int, Meaning(whole(1, 256), "processes", "Processes that share the main port by SO_REUSEPORT.")
    ] = 1
    policy: Annotated[
        Path | None,
        Meaning(optional(path("a file"), "default"), "-", "The policy file; default: the one that ships."),
    ] = None
    bundle: Annotated[
        Path | None,
        Meaning(optional(path("a folder"), "default"), "-", "The bundle; default: the one that ships."),
    ] = None
    challenger: Annotated[
        Path | None,
        Meaning(
            optional(path("a folder"), "off"),
            "-",
            "A second bundle that scores requests unseen by callers, for its disagreement in the metrics; it may come "
            "and go while the server runs. off: none.",
        ),
    ] = None
    state: Annotated[
        Path | None,
        Meaning(
            optional(path("a file"), "auto"),
            "-",
            "The live state (breakers, sessions, budgets) that processes of this machine share; auto: "
            "private memory with one worker, else a new file under /dev/shm or the temporary folder.",
        ),
    ] = None
    store: Annotated[
        str,
        Meaning(
            store_place(),
            "-",
            "Where outcomes and costs are stored; auto: turnout/outcomes.db in $XDG_STATE_HOME or "
            "~/.local/state, off: nowhere.",
        ),
    ] = "auto"
    store_sample: Annotated[
        float,
        Meaning(
            number(0, 1),
            "share",
            "Share of decisions of `Route` whose detail is stored; counts are exact, and completions are stored in full.",
        ),
    ] = 0.01
    drift_reference: Annotated[
        int | None,
        Meaning(
            optional(whole(100, 1_000_000_000), "off"),
            "decisions",
            "Decisions after the start, or after a change of policy or bundle, that later ones are compared with, by policy "
            "and port; it should span what is usual, such as a day. off: no drift alarm.",
        ),
    ] = 10_000
    drift_recent: Annotated[
        int,
        Meaning(
            whole(50, 100_000_000),
            "decisions",
            "The newest decisions, which are compared with those of `drift_reference`.",
        ),
    ] = 2_000
    drift_threshold: Annotated[
        float,
        Meaning(
            number(0.01, 10),
            "index",
            "Population stability index from which a shift that is certain is an alarm; it ends below half of that.",
        ),
    ] = 0.1
    ext_proc: Annotated[
        bool,
        Meaning(
            switch(),
            "-",
            "Serve Envoy's external processor (ext_proc) on both gRPC ports, for chat requests that pass through an Envoy; "
            "needs the extra `envoy`.",
        ),
    ] = False
    shared_limits: Annotated[
        str | None,
        Meaning(
            optional(shared_server(), "off"),
            "-",
            "A Valkey or Redis server through which machines tell each other what they spend of their budgets, about once "
            "a second; while it is away each machine keeps its budgets for itself. off: there is one machine.",
        ),
    ] = None
    max_in_flight: Annotated[
        int,
        Meaning(
            whole(1, 1_000_000),
            "requests a worker",
            "Requests that are admitted at once; more get RESOURCE_EXHAUSTED with RetryInfo.",
        ),
    ] = 1024
    max_completions: Annotated[
        int,
        Meaning(
            whole(1, 1_000_000),
            "requests a worker",
            "Completions that are admitted at once, beside and not among `max_in_flight`; more get RESOURCE_EXHAUSTED "
            "with RetryInfo.",
        ),
    ] = 512
    first_token_s: Annotated[
        float,
        Meaning(
            number(0.01, 3600),
            "seconds",
            "Most time from an upstream call to its first token; then another deployment is asked.",
        ),
    ] = 10.0
    inter_token_s: Annotated[
        float,
        Meaning(
            number(0.01, 3600),
            "seconds",
            "Most time between two tokens of an upstream answer; then it counts as cut.",
        ),
    ] = 10.0
    max_escalations: Annotated[
        int,
        Meaning(whole(0, 3), "steps", "Most steps up that a cascade takes for one request."),
    ] = 1
    max_batch: Annotated[
        int, Meaning(whole(1, 1024), "requests", "Most requests of one RouteBatch call.")
    ] = 1024
    max_message_bytes: Annotated[
        int,
        Meaning(
            whole(1024, 1 << 30),
            "bytes",
            "Largest gRPC message that is received; larger ones are refused unread.",
        ),
    ] = 16 << 20
    # The compiled core reads no more than 4 MiB (core.pxd).
    max_text_bytes: Annotated[
        int, Meaning(whole(1, 4 << 20), "bytes", "Most text of one request, UTF-8.")
    ] = 4 << 20
    drain_s: Annotated[
        float,
        Meaning(
            number(0, 3600),
            "seconds",
            "Time that requests in flight get to finish once the server refuses new ones.",
        ),
    ] = 10.0
    drain_grace_s: Annotated[
        float,
        Meaning(
            number(0, 3600),
            "seconds",
            "Time between NOT_SERVING and the refusal of new requests, in which load balancers look away; "
            "before `drain_s`.",
        ),
    ] = 1.0
    log_level: Annotated[LogLevel, Meaning(choice(LogLevel), "-", "Least severity that is logged.")] = (
        LogLevel.INFO
    )
    log_format: Annotated[LogFormat, Meaning(choice(LogFormat), "-", "Layout of a log line.")] = (
        LogFormat.JSON
    )
    log_sample: Annotated[
        float,
        Meaning(number(0, 1), "share", "Share of decisions that are logged; counters count all of them."),
    ] = 0.01
    reload_poll_s: Annotated[
        float,
        Meaning(
            number(0.1, 3600), "seconds", "Time between looks at the policy file and the bundle for changes."
        ),
    ] = 2.0
    reflection: Annotated[
        bool, Meaning(switch(), "-", "Whether the main port answers gRPC server reflection.")
    ] = True
    max_connection_age_s: Annotated[
        float | None,
        Meaning(
            optional(number(1, 604_800), "off"),
            "seconds",
            "Age at which a connection is asked to reconnect, so that load spreads over new replicas.",
        ),
    ] = None
    tls_cert: Annotated[
        Path | None,
        Meaning(
            optional(path("a file"), "none"),
            "-",
            "Certificate chain of the main port, PEM; none: plain text.",
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        Meaning(
            optional(path("a file"), "none"),
            "-",
            "Private key of the certificate, PEM; only with `tls_cert`.",
        ),
    ] = None


def _knobs() -> tuple[Knob, ...]:
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        Knob(name=field.name, default=field.default, meaning=hints[field.name].__metadata__[0])
        for field in dataclasses.fields(Settings)
    )


KNOBS = _knobs()


@dataclass(frozen=True)
class LoadedSettings:
    """Settings and where each comes from.

    Attributes:
        settings: the values.
        origins: by knob: the option or the variable that set it, or "default".
    """

    settings: Settings
    origins: Mapping[str, str]


def load_settings(
    options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> LoadedSettings:
    """Reads every knob: the command line wins over the environment, that over the default.

    Args:
        options: values from the command line by knob name; None as a value means not given.
        environ: environment variables, os.environ if None; an empty one counts as not set.

    Raises:
        SettingsError: names every knob that is wrong, where its value came from, the value and the limit.
        TypeError: `options` names no knob.
    """
    options = {} if options is None else options
    environ = os.environ if environ is None else environ
    if unknown := options.keys() - {knob.name for knob in KNOBS}:
        raise TypeError(f"no such knobs: {', '.join(sorted(unknown))}")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    defects = []
    for knob in KNOBS:
        given, origin = _find(knob, options, environ)
        origins[knob.name] = origin
        if given is None:
            values[knob.name] = knob.default
            continue
        try:
            values[knob.name] = knob.meaning.kind.parse(given)
        except ValueError as error:
            defects.append(f"{knob.name}: {error} (from {origin}; limit: {knob.meaning.kind.limit})")
    if not defects:
        settings = Settings(**values)
        defects = _check_together(settings, origins)
    if defects:
        raise SettingsError(defects)
    return LoadedSettings(settings, origins)


def _find(knob: Knob, options: Mapping[str, object], environ: Mapping[str, str]) -> tuple[str | None, str]:
    option = options.get(knob.name)
    if option is not None:
        return str(option), knob.option
    value = environ.get(knob.variable, "").strip()
    # Kubernetes gives a pod beside a service named "turnout" a TURNOUT_PORT of its own: tcp://10.0.0.1:50051.
    if not value or (knob.name.endswith("port") and value.startswith("tcp://")):
        return None, "default"
    return value, knob.variable


def _check_together(settings: Settings, origins: Mapping[str, str]) -> list[str]:
    defects = []
    if (settings.tls_cert is None) != (settings.tls_key is None):
        there, missing = ("tls_cert", "tls_key") if settings.tls_key is None else ("tls_key", "tls_cert")
        defects.append(f"{missing}: not set, but {there} is (from {origins[there]}); TLS needs both")
    taken: dict[int, str] = {}
    for name in ("port", "decision_port", "metrics_port"):
        port = getattr(settings, name)
        if port and taken.setdefault(port, name) != name:
            other = taken[port]
            defects.append(
                f"{name}: {port} (from {origins[name]}) is {other} already (from {origins[other]})"
            )
    if settings.max_text_bytes > settings.max_message_bytes:
        defects.append(
            f"max_text_bytes: {settings.max_text_bytes} (from {origins['max_text_bytes']}) is greater than "
            f"max_message_bytes: {settings.max_message_bytes} (from {origins['max_message_bytes']})"
        )
    return defects


def find_misspelt_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like a knob's misspelt, with the knob's, for a warning at the start.

    Not an error: Kubernetes sets variables of the same prefix beside a service named "turnout".
    """
    known = [knob.variable for knob in KNOBS]
    found = {}
    for name in sorted(environ):
        if name.startswith("TURNOUT_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
            if near:
                found[name] = near[0]
    return found
