"""The log file of one child: bounded, and read back for the lines that the terminal shows."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

_LIMIT = 10 * 2**20
_TAIL = 16 * 2**10
_LONGEST = 240
_OUR_HEAD = re.compile(r"^\d{4}-\d\d-\d\dT\S+Z [A-Z]+ \w+ ")


class LogFile:
    """`logs/<name>.log`, and one older `.1`: at most 20 MB. Children append to it by themselves."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin = 0
        self._seen = 0

    def open(self) -> int:
        """A descriptor for a child to write to; what is there already counts as seen."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.rotate()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._begin = self._seen = os.fstat(descriptor).st_size
        return descriptor

    def rotate(self) -> None:
        """Moves the text to `.1` once it is too long. Copied and cut, because the child keeps its descriptor."""
        try:
            if self.path.stat().st_size > _LIMIT:
                shutil.copyfile(self.path, self.path.with_name(self.path.name + ".1"))
                os.truncate(self.path, 0)
                self._begin = self._seen = 0
        except OSError:
            return

    def last_line(self) -> str:
        """The last line since `open`, shortened; empty when there is none."""
        lines = self._read(max(self._begin, self._size() - _TAIL)).splitlines()
        return _readable(next((line for line in reversed(lines) if line.strip()), ""))

    def new_errors(self) -> list[str]:
        """Whole lines of level ERROR or CRITICAL that were written since the last call."""
        text = self._read(max(self._seen, self._size() - _TAIL))
        whole = text[: text.rfind("\n") + 1]
        self._seen = self._size() - len(text[len(whole) :].encode())
        return [_readable(line) for line in whole.splitlines() if _level(line) in {"ERROR", "CRITICAL"}]

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def _read(self, start: int) -> str:
        try:
            with self.path.open("rb") as file:
                file.seek(start)
                return file.read(4 * _TAIL).decode("utf-8", "replace")
        except OSError:
            return ""


def _level(line: str) -> str:
    words = line.split(" ", 2)
    return words[1] if len(words) == 3 else ""


def _readable(line: str) -> str:
    """Of Temporal's JSON what it says and why; of our own lines the event, without time, level and process."""
    if line.startswith("{"):
        try:
            fields = json.loads(line)
            line = ": ".join(str(fields[key]) for key in ("msg", "error", "Error") if fields.get(key))
        except ValueError:
            pass
    return " ".join(_OUR_HEAD.sub("", line).split())[:_LONGEST]
