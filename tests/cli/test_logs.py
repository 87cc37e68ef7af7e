"""A child's log file: what the terminal shows of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from boton.cli import logs
from boton.cli.logs import LogFile


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_the_last_line_is_of_this_life_only(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api.log"
    log = LogFile(path)
    os.close(log.open())
    _append(path, "old\n")
    os.close(log.open())
    assert log.last_line() == ""
    _append(path, "2026-11-22T20:17:07.763Z CRITICAL api process died error=ValueError\n\n")
    assert log.last_line() == "process died error=ValueError"
    assert path.stat().st_mode & 0o777 == 0o600


def test_temporals_json_is_told_in_words(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "temporal.log")
    os.close(log.open())
    _append(log.path, '{"level":"ERROR","msg":"unable to start","error":"disk is full"}\n')
    assert log.last_line() == "unable to start: disk is full"


def test_errors_are_told_once_and_only_whole_lines(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "x.log")
    os.close(log.open())
    _append(
        log.path, "2026-11-22T20:17:07.763Z ERROR api first\n2026-11-22T20:17:07.763Z INFO api fine\n2026-11-22T20:17:0"
    )
    assert log.new_errors() == ["first"]
    assert log.new_errors() == []
    _append(log.path, "7.763Z ERROR api second\n")
    assert log.new_errors() == ["second"]


def test_a_long_log_moves_aside_while_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_LIMIT", 100)
    log = LogFile(tmp_path / "x.log")
    writer = log.open()
    os.write(writer, b"a" * 150 + b"\n")
    log.rotate()
    os.write(writer, b"after\n")
    os.close(writer)
    assert log.path.read_text() == "after\n"
    assert (tmp_path / "x.log.1").stat().st_size == 151
    assert log.last_line() == "after"
