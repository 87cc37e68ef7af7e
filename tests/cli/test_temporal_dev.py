"""The compose file for those who prefer containers."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml

from tests.cli.conftest import ROOT

FILE = ROOT / "temporal-dev.yml"


def _has_compose() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _has_compose(), reason="no docker client with compose")
def test_compose_accepts_the_file() -> None:
    command = ["docker", "compose", "-f", str(FILE), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_port_is_bound_to_this_machine_and_every_dependency_exists() -> None:
    services = yaml.safe_load(FILE.read_text())["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert {port.split(":")[1] for port in ports} == {"5432", "7233", "8233"}
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for service in services.values():
        assert service.get("depends_on", {}).keys() <= services.keys()
        assert ":" in service["image"]
        assert not service["image"].endswith(":latest")
