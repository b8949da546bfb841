from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pytest
from turnout_server.settings import (
    KNOBS,
    LogFormat,
    LogLevel,
    Settings,
    SettingsError,
    find_misspelt_variables,
    load_settings,
)
from turnout_server.settings_page import markdown
from turnout_server.state_file import create_state_file

ROOT = Path(__file__).parents[2]

# A value of each knob that is not its default.
OTHERS: dict[str, tuple[str, object]] = {
    "host": ("::1", "::1"),
    "port": ("6001", 6001),
    "decision_port": ("off", None),
    "decision_threads": ("4", 4),
    "decision_socket": ("/run/turnout.sock", Path("/run/turnout.sock")),
    "metrics_port": ("0", 0),
    "workers": ("4", 4),
    "policy": ("/etc/turnout/policy.yaml", Path("/etc/turnout/policy.yaml")),
    "bundle": ("/var/lib/turnout/bundle", Path("/var/lib/turnout/bundle")),
    "challenger": ("/var/lib/turnout/challenger", Path("/var/lib/turnout/challenger")),
    "state": ("/dev/shm/turnout", Path("/dev/shm/turnout")),
    "store": ("postgresql://turnout@db.internal/turnout", "postgresql://turnout@db.internal/turnout"),
    "store_sample": ("0.25", 0.25),
    "drift_reference": ("500", 500),
    "drift_recent": ("100", 100),
    "drift_threshold": ("0.25", 0.25),
    "ext_proc": ("true", True),
    "shared_limits": ("rediss://turnout@cache.internal:6380/1", "rediss://turnout@cache.internal:6380/1"),
    "max_in_flight": ("64", 64),
    "max_completions": ("32", 32),
    "first_token_s": ("2.5", 2.5),
    "inter_token_s": ("30", 30.0),
    "max_escalations": ("2", 2),
    "max_batch": ("8", 8),
    "max_message_bytes": ("1048576", 1 << 20),
    "max_text_bytes": ("1000", 1000),
    "drain_s": ("0", 0.0),
    "drain_grace_s": ("2.5", 2.5),
    "log_level": ("WARNING", LogLevel.WARNING),
    "log_format": ("console", LogFormat.CONSOLE),
    "log_sample": ("1", 1.0),
    "reload_poll_s": ("0.5", 0.5),
    "reflection": ("off", False),
    "max_connection_age_s": ("600", 600.0),
    "tls_cert": ("/tls/cert.pem", Path("/tls/cert.pem")),
    "tls_key": ("/tls/key.pem", Path("/tls/key.pem")),
}


def error_of(options: dict[str, object] | None = None, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(options, environ or {})
    return str(caught.value).split("\n")


def test_nothing_given_means_the_defaults() -> None:
    loaded = load_settings({}, {})
    assert loaded.settings == Settings()
    assert set(loaded.origins.values()) == {"default"}
    assert (loaded.settings.port, loaded.settings.decision_port, loaded.settings.metrics_port) == (
        50051,
        50052,
        9464,
    )


def test_every_knob_is_read_from_its_variable() -> None:
    assert OTHERS.keys() == {knob.name for knob in KNOBS}
    loaded = load_settings({}, {f"TURNOUT_{name.upper()}": text for name, (text, _) in OTHERS.items()})
    assert dataclasses.asdict(loaded.settings) == {name: value for name, (_, value) in OTHERS.items()}
    assert loaded.origins["max_in_flight"] == "TURNOUT_MAX_IN_FLIGHT"


def test_every_knob_is_read_from_its_option() -> None:
    loaded = load_settings({name: text for name, (text, _) in OTHERS.items()}, {})
    assert dataclasses.asdict(loaded.settings) == {name: value for name, (_, value) in OTHERS.items()}
    assert loaded.origins["max_in_flight"] == "--max-in-flight"


def test_typed_options_are_read_like_text() -> None:
    options = {name: value for name, (_, value) in OTHERS.items() if value is not None}
    settings = load_settings(options, {}).settings
    assert {name: getattr(settings, name) for name in options} == options


def test_the_option_wins_over_the_variable() -> None:
    loaded = load_settings({"port": 7000, "workers": None}, {"TURNOUT_PORT": "8000", "TURNOUT_WORKERS": "2"})
    assert (loaded.settings.port, loaded.origins["port"]) == (7000, "--port")
    assert (loaded.settings.workers, loaded.origins["workers"]) == (2, "TURNOUT_WORKERS")


def test_an_option_can_return_to_the_default() -> None:
    loaded = load_settings({"policy": "default"}, {"TURNOUT_POLICY": "/etc/policy.yaml"})
    assert (loaded.settings.policy, loaded.origins["policy"]) == (None, "--policy")


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (
            "postgresql://ada:hunter2@host/db",
            "the address holds a password; use PGPASSFILE, or PGPASSWORD in the",
        ),
        (
            "postgresql://host/db?password=hunter2",
            "the address holds a password; use PGPASSFILE, or PGPASSWORD in the",
        ),
        ("mysql://ada:hunter2@host/db", "not an address of the form postgresql://"),
        ("postgresql://host", "not an address of the form postgresql://"),
    ],
)
def test_a_store_with_a_password_is_refused_and_not_shown(given: str, wrong: str) -> None:
    (line,) = error_of({}, {"TURNOUT_STORE": given})
    assert line.startswith(f"store: {wrong}")
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ("redis://:hunter2@host/0", "the address holds a password; use VALKEYCLI_AUTH or REDISCLI_AUTH"),
        ("redis://host/0?password=hunter2", "the address holds a password; use VALKEYCLI_AUTH or"),
        ("http://ada:hunter2@host", "not an address of the form redis://"),
        ("redis:///hunter2", "not an address of the form redis://"),
    ],
)
def test_a_shared_server_with_a_password_is_refused_and_not_shown(given: str, wrong: str) -> None:
    (line,) = error_of({}, {"TURNOUT_SHARED_LIMITS": given})
    assert line.startswith(f"shared_limits: {wrong}")
    assert "hunter2" not in line


def test_an_empty_variable_is_not_set() -> None:
    assert load_settings({}, {"TURNOUT_POLICY": "", "TURNOUT_PORT": " "}).settings == Settings()


def test_service_links_of_kubernetes_are_no_ports() -> None:
    loaded = load_settings(
        {}, {"TURNOUT_PORT": "tcp://10.0.0.1:50051", "TURNOUT_METRICS_PORT": "tcp://10.0.0.2:9464"}
    )
    assert loaded.settings == Settings()


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("port", "70000", "port: '70000' is greater than 65,535 (from TURNOUT_PORT; limit: 0 to 65,535)"),
        ("port", "-1", "port: '-1' is less than 0 (from TURNOUT_PORT; limit: 0 to 65,535)"),
        ("workers", "two", "workers: 'two' is not a whole number (from TURNOUT_WORKERS; limit: 1 to 256)"),
        ("workers", "9" * 5000, "is not a whole number (from TURNOUT_WORKERS; limit: 1 to 256)"),
        (
            "decision_port",
            "none",
            "'none' is not a whole number (from TURNOUT_DECISION_PORT; limit: 0 to 65,535, or off)",
        ),
        ("drain_s", "nan", "drain_s: 'nan' is not a number (from TURNOUT_DRAIN_S; limit: 0 to 3,600)"),
        ("log_sample", "1.5", "log_sample: '1.5' is greater than 1 (from TURNOUT_LOG_SAMPLE; limit: 0 to 1)"),
        ("log_format", "xml", "log_format: 'xml' is not one of json, console (from TURNOUT_LOG_FORMAT"),
        ("reflection", "maybe", "reflection: 'maybe' is not true or false (from TURNOUT_REFLECTION"),
        ("max_batch", "1025", "max_batch: '1025' is greater than 1,024"),
        ("max_text_bytes", "4194305", "max_text_bytes: '4194305' is greater than 4,194,304"),
    ],
)
def test_a_wrong_value_is_named_with_its_origin_and_limit(name: str, given: str, message: str) -> None:
    (line,) = error_of({}, {f"TURNOUT_{name.upper()}": given})
    assert message in line


def test_every_wrong_value_has_its_line() -> None:
    assert error_of({"port": "x"}, {"TURNOUT_WORKERS": "0"}) == [
        "port: 'x' is not a whole number (from --port; limit: 0 to 65,535)",
        "workers: '0' is less than 1 (from TURNOUT_WORKERS; limit: 1 to 256)",
    ]


def test_settings_that_contradict_each_other_are_refused() -> None:
    assert error_of({"tls_cert": "c.pem"}) == [
        "tls_key: not set, but tls_cert is (from --tls-cert); TLS needs both"
    ]
    assert error_of({"tls_key": "k.pem"}) == [
        "tls_cert: not set, but tls_key is (from --tls-key); TLS needs both"
    ]
    assert error_of({"port": 50052}) == ["decision_port: 50052 (from default) is port already (from --port)"]
    assert error_of({"max_message_bytes": 2048}, {"TURNOUT_MAX_TEXT_BYTES": "4096"}) == [
        "max_text_bytes: 4096 (from TURNOUT_MAX_TEXT_BYTES) is greater than max_message_bytes: 2048 "
        "(from --max-message-bytes)"
    ]
    assert load_settings({"port": 0, "decision_port": 0, "metrics_port": 0}, {}).settings.port == 0


def test_an_option_that_is_no_knob_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="no such knobs: prot"):
        load_settings({"prot": 1}, {})


def test_misspelt_variables_are_found() -> None:
    environ = {
        "TURNOUT_MAX_INFLIGHT": "1",
        "TURNOUT_PORT": "1",
        "TURNOUT_SERVICE_HOST": "10.0.0.1",
        "TURNOUT_PORT_50051_TCP_ADDR": "10.0.0.1",
        "OTHER_PROT": "1",
    }
    assert find_misspelt_variables(environ) == {"TURNOUT_MAX_INFLIGHT": "TURNOUT_MAX_IN_FLIGHT"}


def test_every_knob_says_what_it_does() -> None:
    for knob in KNOBS:
        assert knob.meaning.unit, knob.name
        assert knob.meaning.kind.limit, knob.name
        assert knob.meaning.description.endswith("."), knob.name


def test_every_default_is_within_its_limit() -> None:
    for knob in KNOBS:
        assert knob.meaning.kind.parse(knob.meaning.kind.show(knob.default)) == knob.default, knob.name


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_the_page_is_fresh() -> None:
    committed = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
    assert committed == markdown(), "run `python -m turnout_server.settings_page docs/settings.md`"


def test_one_process_needs_no_state_file(tmp_path: Path) -> None:
    assert create_state_file(Settings(decision_port=None), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_named_state_file_is_left_to_the_core(tmp_path: Path) -> None:
    named = tmp_path / "state"
    assert create_state_file(Settings(state=named, workers=2), tmp_path) == named
    assert not named.exists()


def test_workers_get_a_state_file_of_their_own(tmp_path: Path) -> None:
    # One worker and the decision port's process share it too.
    first, second = (create_state_file(given, tmp_path) for given in (Settings(workers=2), Settings()))
    assert first is not None
    assert second is not None
    assert first != second
    assert first.parent == tmp_path
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert first.stat().st_size == 0


def test_without_shared_memory_the_temporary_folder_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = create_state_file(Settings(workers=2), tmp_path / "none")
    assert path is not None
    assert path.parent == tmp_path
