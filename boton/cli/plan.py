"""What `boton up` is going to start, settled before anything starts: ports, addresses, and who gets which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from boton.cli.children import python_command
from boton.cli.embedded import find_temporal, temporal_spec
from boton.cli.listening import LOOPBACK, settle_ports
from boton.cli.supervisor import ProcessSpec
from boton.metrics_text import pick_loopback_port
from boton.settings import Settings

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`processes` in the order of their start. URLs have no slash at their end.

    environment: what every child is given besides the environment of this process.
    """

    data_dir: Path
    processes: tuple[ProcessSpec, ...]
    environment: Mapping[str, str]
    api: str
    temporal: str
    temporal_ui: str
    simulator: str | None
    metrics_port: int
    child_metrics: Mapping[str, int]
    embedded: bool


def make_plan(settings: Settings) -> Plan:
    """Raises Obstacle when a port is in use or a program is missing."""
    data_dir = settings.data_dir.absolute()
    embedded = settings.temporal_address is None
    simulator = settings.simulator if "simulator" in settings.model_fields_set else True
    binary = find_temporal() if embedded else None
    ports = settle_ports(_wanted_ports(settings, embedded=embedded, simulator=simulator))
    environment = _environment(settings, data_dir, ports, simulator=simulator)
    names = [*(["simulator"] if simulator else []), "api", "worker", "connections"]
    child_metrics = {name: pick_loopback_port() for name in names}
    processes = [_python_spec(name, data_dir, environment, child_metrics[name]) for name in names]
    if binary is not None:
        processes.insert(
            0, temporal_spec(binary, data_dir, ports["BOTON_TEMPORAL_PORT"], ports["BOTON_TEMPORAL_UI_PORT"])
        )
    return Plan(
        data_dir=data_dir,
        processes=tuple(processes),
        environment=environment,
        api=f"http://{_reachable(settings.api_host)}:{ports['BOTON_API_PORT']}",
        temporal=settings.temporal_address or f"{LOOPBACK}:{ports['BOTON_TEMPORAL_PORT']}",
        temporal_ui=_ui(settings, ports),
        simulator=f"http://{LOOPBACK}:{ports['BOTON_SIMULATOR_PORT']}" if simulator else None,
        metrics_port=ports["BOTON_METRICS_PORT"],
        child_metrics=child_metrics,
        embedded=embedded,
    )


def _wanted_ports(settings: Settings, *, embedded: bool, simulator: bool) -> dict[str, tuple[str, int]]:
    wanted = {"BOTON_API_PORT": (settings.api_host, settings.api_port)}
    if embedded:
        wanted["BOTON_TEMPORAL_PORT"] = (LOOPBACK, settings.temporal_port)
        wanted["BOTON_TEMPORAL_UI_PORT"] = (LOOPBACK, settings.temporal_ui_port)
    if simulator:
        wanted["BOTON_SIMULATOR_PORT"] = (LOOPBACK, settings.simulator_port)
    wanted["BOTON_METRICS_PORT"] = (LOOPBACK, settings.metrics_port)
    return wanted


def _environment(settings: Settings, data_dir: Path, ports: Mapping[str, int], *, simulator: bool) -> dict[str, str]:
    """What was settled here; all else the children read for themselves, from the environment and `.env`."""
    return {
        **{variable: str(port) for variable, port in ports.items()},
        "BOTON_DATA_DIR": str(data_dir),
        "BOTON_API_HOST": settings.api_host,
        "BOTON_SIMULATOR": str(int(simulator)),
        "PYTHONUNBUFFERED": "1",
    }


def _python_spec(name: str, data_dir: Path, environment: Mapping[str, str], metrics_port: int) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        command=python_command("boton.cli.process", name),
        environment={**environment, "BOTON_METRICS_PORT": str(metrics_port)},
        log=data_dir / "logs" / f"{name}.log",
    )


def _ui(settings: Settings, ports: Mapping[str, int]) -> str:
    chosen = ports.get("BOTON_TEMPORAL_UI_PORT", settings.temporal_ui_port)
    return settings.model_copy(update={"temporal_ui_port": chosen}).temporal_ui


def _reachable(host: str) -> str:
    """An address of this machine under which a server bound to `host` answers."""
    host = _EVERYWHERE.get(host, host)
    return f"[{host}]" if ":" in host else host
