"""The benches run. What they measure is nothing for a test: the machine is busy with others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.figures import Figure, Reach, percentile, to_table
from bench.scale import Scale

ROOT = Path(__file__).parent.parent
NAMES = [
    *("send.accept", "send.claimed", "send.bulk", "send.history", "post.p99", "chats.list", "reminders.idle"),
    *("link.memory", "chat.turn", "chat.long", "chat.storm", "link.flood"),
]


def test_runner_lists_every_bench() -> None:
    listed = run_bench("--list")
    assert (listed.returncode, listed.stdout.split()) == (0, NAMES)


def test_unknown_bench_is_refused_by_name() -> None:
    refused = run_bench("send.everything")
    assert refused.returncode == 2
    assert "send.everything" in refused.stderr


@pytest.mark.timeout(400)
def test_bench_prints_one_json_object_a_line_beside_its_yardstick() -> None:
    ran = run_bench("--scale", "0.01", "send.accept")
    assert ran.returncode == 0, ran.stderr
    figures = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [figure["name"] for figure in figures] == ["send.accept", "send.accept.first_contact"]
    for figure in figures:
        assert figure.keys() == {"name", "value", "unit", "against", "ratio"}
        assert figure["ratio"] == pytest.approx(figure["value"] / figure["against"], rel=0.01)


def test_figure_is_reached_at_its_limit_and_not_beyond() -> None:
    reach = Reach(1.5)
    assert a_figure(1.5, reach).is_reached is True
    assert a_figure(1.6, reach).is_reached is False
    assert a_figure(1.5, Reach(2, at_least=True)).is_reached is False
    assert a_figure(240.0, Reach(250, of="value"), against=100.0).is_reached is True
    assert a_figure(1.5, None).is_reached is None


def test_table_names_what_was_not_reached() -> None:
    table = to_table([a_figure(1.0, Reach(1.5)), a_figure(9.0, Reach(1.5))])
    assert [line.split()[8] for line in table.splitlines()[1:]] == ["ok", "NOT"]


def test_percentile_is_a_sample_that_so_many_do_not_exceed() -> None:
    samples = [float(number) for number in range(1, 101)]
    assert (percentile(samples, 50), percentile(samples, 99), percentile([7.0], 99)) == (50.0, 99.0, 7.0)


def test_scale_shrinks_but_never_grows() -> None:
    assert (Scale(0.01).of(5000), Scale(0.01).of(100, least=5), Scale(3).of(100)) == (50, 5, 100)


def a_figure(value: float, reach: Reach | None, against: float = 1.0) -> Figure:
    return Figure(name="a.bench", value=value, unit="ms", against=against, basis="3 samples", reach=reach)


def run_bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "bench", *arguments)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=390, check=False)
