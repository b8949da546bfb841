"""Keys are read, read again, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from turnout_server.providers.credentials import (
    LOOK_EVERY_S,
    MAX_KEY_BYTES,
    CredentialError,
    KeySource,
    Secret,
)


class FakeClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_key_of_the_environment() -> None:
    environment = {"A_KEY": " sk-1\n"}
    source = KeySource("A_KEY", FakeClock(), environment)
    assert source.key().reveal() == "sk-1"
    environment["A_KEY"] = "sk-2"
    assert source.key().reveal() == "sk-1"
    assert source.reread()
    assert source.key().reveal() == "sk-2"
    assert not source.reread()


def test_a_file_is_read_again_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    clock = FakeClock()
    source = KeySource(f"file:{path}", clock)
    assert source.key().reveal() == "sk-1"
    path.write_text("sk-longer-2\n")
    assert source.key().reveal() == "sk-1"
    clock.now += LOOK_EVERY_S
    assert source.key().reveal() == "sk-longer-2"


def test_the_last_good_key_serves_while_its_file_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk-1")
    clock = FakeClock()
    source = KeySource(f"file:{path}", clock)
    source.key()
    path.unlink()
    clock.now += LOOK_EVERY_S
    assert source.key().reveal() == "sk-1"
    assert not source.reread()
    path.write_text("two\nlines")
    clock.now += LOOK_EVERY_S
    assert source.key().reveal() == "sk-1"
    path.write_text("sk-3")
    clock.now += LOOK_EVERY_S
    assert source.key().reveal() == "sk-3"


@pytest.mark.parametrize(
    "content", ["", " \n", "a\nb", "a\r\nX-Header: b", "schlüssel", "\x00", "x" * (MAX_KEY_BYTES + 1)]
)
def test_what_is_no_key_is_refused_by_place(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(CredentialError) as caught:
        KeySource(f"file:{path}", FakeClock()).key()
    assert str(path) in str(caught.value)
    assert not content.strip() or content not in str(caught.value)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="no such environment variable"):
        KeySource("A_KEY", FakeClock(), {}).key()
    with pytest.raises(CredentialError, match="No such file"):
        KeySource(f"file:{tmp_path / 'none'}", FakeClock()).key()
    with pytest.raises(CredentialError, match="Is a directory"):
        KeySource(f"file:{tmp_path}", FakeClock()).key()


def test_a_secret_shows_nothing() -> None:
    secret = Secret("sk-1")
    assert "sk-1" not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret("sk-1") != Secret("sk-2")
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    source = KeySource("A_KEY", FakeClock(), {"A_KEY": "sk-1"})
    source.key()
    assert "sk-1" not in repr(source)
