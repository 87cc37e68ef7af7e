"""The faults of the network that tests and demonstrations ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from boton.simulator.bodies import MAX_INTEGER, Fields

MAX_LATENCY_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """latency_ms: before each delivery. Rates are probabilities: lose_ack and reject per send, disconnect per
    request of a gateway. offline: no gateway reaches the network. forgetful: no outcome can be told.
    """

    latency_ms: int = 0
    lose_ack_rate: float = 0.0
    reject_rate: float = 0.0
    reject_code: int = 463
    disconnect_rate: float = 0.0
    offline: bool = False
    forgetful: bool = False
    seed: int = 1


class Dice:
    """Chance that repeats with the seed: a stream for each question, so that one does not disturb another."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, Random] = {}

    def hit(self, question: str, rate: float) -> bool:
        if rate <= 0:
            return False
        stream = self._streams.setdefault(question, Random(f"{self._seed}:{question}"))
        return stream.random() < rate


_KNOWN = frozenset(
    {"latencyMs", "loseAckRate", "rejectRate", "rejectCode", "disconnectRate", "offline", "forgetful", "seed"}
)


def parse_faults(body: Mapping[str, Any]) -> Faults:
    """PUT replaces all of them: what is not named is off. Raises Invalid."""
    fields = Fields(body, _KNOWN)
    return Faults(
        latency_ms=fields.integer("latencyMs", 0, 0, MAX_LATENCY_MS),
        lose_ack_rate=fields.rate("loseAckRate"),
        reject_rate=fields.rate("rejectRate"),
        reject_code=fields.integer("rejectCode", 463, 1, 999),
        disconnect_rate=fields.rate("disconnectRate"),
        offline=fields.flag("offline", False),
        forgetful=fields.flag("forgetful", False),
        seed=fields.integer("seed", 1, -MAX_INTEGER, MAX_INTEGER),
    )


def to_body(faults: Faults) -> dict[str, Any]:
    """The document that PUT /faults takes and GET /faults gives."""
    return {
        "latencyMs": faults.latency_ms,
        "loseAckRate": faults.lose_ack_rate,
        "rejectRate": faults.reject_rate,
        "rejectCode": faults.reject_code,
        "disconnectRate": faults.disconnect_rate,
        "offline": faults.offline,
        "forgetful": faults.forgetful,
        "seed": faults.seed,
    }


def to_json(faults: Faults) -> str:
    return json.dumps(to_body(faults))
