"""`up.json`, which tells others where everything is, and `run/links.json`, which tells us of the link processes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from boton.cli.children import is_alive


def write_private(path: Path, text: str) -> None:
    """Replaces the file in one step; readable by the owner alone from the first moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    fresh.replace(path)


def read_up_file(data_dir: Path) -> dict[str, Any] | None:
    """What the running `boton up` says of itself; None when there is none (or one that cannot be read)."""
    return _read_object(data_dir / "up.json")


class UpFile:
    """Written atomically, readable by the owner alone, only when something changed."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "up.json"
        self._written: dict[str, Any] | None = None
        self.remove()  # of a `boton up` that was killed

    def write(self, document: dict[str, Any]) -> None:
        if document == self._written:
            return
        write_private(self._path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        self._written = document

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
        self._written = None


class Links:
    """The link processes, as the connection host lists them."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "run" / "links.json"
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        self._path.unlink(missing_ok=True)  # of an earlier run: its pids may be anybody's now

    def pids(self) -> list[int]:
        """One process for each connected phone number."""
        pids = (link.get("pid") for link in self._read().values())
        return sorted(pid for pid in pids if isinstance(pid, int) and is_alive(pid))

    def metrics_ports(self) -> dict[str, int]:
        """By connection id."""
        ports = {connection: link.get("metricsPort") for connection, link in self._read().items()}
        return {connection: port for connection, port in ports.items() if isinstance(port, int)}

    def _read(self) -> dict[str, dict[str, Any]]:
        entries = _read_object(self._path) or {}
        return {connection: link for connection, link in entries.items() if isinstance(link, dict)}


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
