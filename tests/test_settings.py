"""Settings come from the environment and a .env file; what is wrong is said in one line."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from boton.domain.pacing import ClosingTimes
from boton.errors import Invalid
from boton.passwords import hash_password, new_password, verify_password
from boton.settings import read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("BOTON_", "OPENAI_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_nothing_set_means_the_embedded_defaults(tmp_path: Path) -> None:
    settings = read_settings()
    assert settings.store_url == f"sqlite:///{tmp_path / 'data' / 'boton.db'}"
    assert settings.temporal_target == "127.0.0.1:7233"
    assert settings.temporal_ui == "http://127.0.0.1:8233"
    assert settings.simulator is False


def test_the_environment_beats_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("BOTON_API_PORT=8111\nBOTON_SIMULATOR_PORT=8222\nOPENAI_API_KEY=k\nOTHER=1\n")
    monkeypatch.setenv("BOTON_API_PORT", "8333")
    settings = read_settings()
    assert (settings.api_port, settings.simulator_port) == (8333, 8222)
    assert settings.llm_api_key is not None
    assert settings.llm_api_key.get_secret_value() == "k"


def test_a_variable_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BOTON_DATABASE_URL", "BOTON_ADMIN_PASSWORD", "BOTON_API_PORT", "BOTON_TEMPORAL_ADDRESS"):
        monkeypatch.setenv(name, "")
    settings = read_settings()
    assert settings.admin_password is None
    assert settings.database_url is None
    assert settings.temporal_address is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BOTON_API_PORT", "eighty-secret"),
        ("BOTON_API_PORT", "70000"),
        ("BOTON_DATABASE_URL", "mysql://user:hunter2@db/x"),
        ("BOTON_TEMPORAL_ADDRESS", "https://temporal"),
        ("BOTON_TEMPORAL_TLS_CERT", "cert.pem"),
        ("BOTON_SIMULATOR", "perhaps"),
        ("BOTON_SLOW_LANE_463_SECONDS", "-3600"),
        ("BOTON_SLOW_LANE_429_SECONDS", "nan"),
        ("BOTON_SLOW_LANE_429_SECONDS", "1e12"),
    ],
)
def test_a_bad_value_is_one_line_that_names_the_variable_and_not_the_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Invalid) as caught:
        read_settings()
    assert name in caught.value.detail
    assert value not in caught.value.detail
    assert "\n" not in caught.value.detail


def test_a_refusal_closes_the_slow_lane_as_long_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings().closing_times() == ClosingTimes()
    monkeypatch.setenv("BOTON_SLOW_LANE_463_SECONDS", "2")
    monkeypatch.setenv("BOTON_SLOW_LANE_429_SECONDS", "0.5")
    times = read_settings().closing_times()
    assert (times.after_463, times.after_429) == (timedelta(seconds=2), timedelta(seconds=0.5))
    assert times.after_ban == ClosingTimes().after_ban


def test_a_password_is_known_again_by_its_hash_alone() -> None:
    password = new_password()
    hashed = hash_password(password)
    assert password not in hashed
    assert hash_password(password) != hashed
    assert verify_password(password, hashed)
    assert not verify_password(password + "x", hashed)


@pytest.mark.parametrize("broken", ["", "x", "scrypt$1$2$3$4$5", "scrypt$16384$8$1$!$!", "plain$16384$8$1$eA==$eA=="])
def test_what_is_no_hash_lets_nobody_in(broken: str) -> None:
    assert not verify_password("anything", broken)
