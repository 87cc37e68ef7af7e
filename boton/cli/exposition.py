"""The one /metrics of a running `boton up`: what all of its processes expose, told apart by `process`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from boton.cli.obstacles import Obstacle
from boton.metrics_text import MetricsServer, fetch_exposition, merge_expositions, serve_text


def serve_exposition(targets: Callable[[], Mapping[str, int]], port: int) -> MetricsServer:
    """Asks each of `targets` (process → metrics port) at every scrape. Raises Obstacle when the port is in use."""
    try:
        return serve_text(lambda: collect(targets()), port)
    except OSError:
        raise Obstacle(f"Port {port} is in use: set BOTON_METRICS_PORT to another port (0: any free one).") from None


def collect(targets: Mapping[str, int]) -> str:
    """The merged exposition; a process that does not answer is left out and `boton_process_up` says so."""
    if not targets:
        return merge_expositions({})
    with ThreadPoolExecutor(len(targets)) as pool:
        texts = dict(zip(targets, pool.map(fetch_exposition, targets.values()), strict=True))
    texts = {process: text and without_merged(text) for process, text in texts.items()}
    head = "# HELP boton_process_up Whether the process told its metrics.\n# TYPE boton_process_up gauge\n"
    up = {process: f"{head}boton_process_up {int(text is not None)}\n" for process, text in texts.items()}
    return merge_expositions({process: up[process] + (text or "") for process, text in texts.items()})


_MERGED = re.compile(r'^\w+\{process=".*\n', re.MULTILINE)


def without_merged(text: str) -> str:
    """Without what a process tells of others: a connection host tells of its links for deployments that have no
    supervisor; here they are asked themselves.
    """
    return _MERGED.sub("", text)
