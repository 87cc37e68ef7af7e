"""send.history: history events a message, of all runs of the send's workflow, beside one activity a message."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import Client

from activities.batch import BATCH_MESSAGES, BATCH_TIME
from bench.chains import count_events
from bench.figures import Figure, Reach
from bench.numbers import fresh_numbers
from bench.outbound import TEXT
from bench.progress import say
from bench.scale import Scale
from bench.side_process import measure_in_process
from bench.stack import Stack, running_stack, scratch
from boton import names
from boton.domain.pacing import PROFILES, PacingProfile
from boton.temporal import TemporalAddress, connect

_RECIPIENTS = 5000
_CAREFUL = 150
_EACH = 300
_SHORT_GAP = (0.02, 0.06)
"""Seconds: `careful` with 20 to 60 s would take hours; a batch that is ended by its time is reckoned instead."""

_PHONE = "5491150000100"


async def run(scale: Scale) -> list[Figure]:
    with running_stack() as stack, scratch() as folder:
        client = await connect(TemporalAddress(target=stack.temporal))
        each = _measure_each(stack, folder, scale.of(_EACH, least=20))
        say("send.history: pacing off")
        off, total = await _measure(stack, client, scale.of(_RECIPIENTS, least=50))
        stack.api().post("/config", {"pacing": _careful()})
        say(f"send.history: careful, with gaps of {_SHORT_GAP} s")
        careful, total_careful = await _measure(stack, client, scale.of(_CAREFUL, least=5))
    reckoned = _reckon(off, total)
    gap = sum(PROFILES[PacingProfile.CAREFUL].slow_gap) / 2
    return [
        _figure("send.history", off / total, each, f"1 send to {total}, pacing off", Reach(0.05, of="value")),
        _figure(
            "send.history.careful_short",
            careful / total_careful,
            each,
            f"1 send to {total_careful}, careful with gaps of {_SHORT_GAP[0]} to {_SHORT_GAP[1]} s",
        ),
        _figure(
            "send.history.careful",
            reckoned,
            each,
            f"reckoned: the events of a batch over the messages of one of {BATCH_TIME} at gaps of {gap:g} s",
        ),
    ]


async def _measure(stack: Stack, client: Client, total: int) -> tuple[int, int]:
    """The events of one send, and to how many it went."""
    send_id = stack.api().post("/send", {"to": fresh_numbers(total), "message": TEXT})["id"]
    stack.store().finished(send_id, 300, every=0.25)
    handle = client.get_workflow_handle(names.send_workflow(send_id))
    await handle.result()
    return await count_events(client, names.send_workflow(send_id)), total


def _measure_each(stack: Stack, folder: Path, total: int) -> float:
    arguments = (str(folder), stack.simulator_url, _PHONE, str(total), stack.temporal)
    return float(measure_in_process("bench.each", *arguments)["eventsPerMessage"])


def _careful() -> dict[str, object]:
    """The profile in all but its gaps and what would keep it waiting until tomorrow."""
    return {"profile": "careful", "slowGapSeconds": _SHORT_GAP, "fastGapSeconds": _SHORT_GAP, "dailyLimit": None}


def _reckon(events: int, total: int) -> float:
    """Events a message where a batch is ended by its time: what a batch costs does not depend on what it sends."""
    a_batch = events / max(1.0, total / BATCH_MESSAGES)
    gap = sum(PROFILES[PacingProfile.CAREFUL].slow_gap) / 2
    return a_batch / (BATCH_TIME.total_seconds() / gap)


def _figure(name: str, value: float, each: float, basis: str, reach: Reach | None = None) -> Figure:
    return Figure(
        name=name,
        value=value,
        unit="events/message",
        against=each,
        basis=f"{basis}; one activity a message",
        reach=reach,
    )
