"""What a bench answers: one figure beside its yardstick, and how both are told."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reach:
    """What is to be reached. of: `ratio` or `value`, at most (at least) `limit`."""

    limit: float
    of: str = "ratio"
    at_least: bool = False

    def __str__(self) -> str:
        return f"{self.of} {'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """value, against: the measured thing and its yardstick, both in `unit`. basis: samples, and what the yardstick is.

    reach: None for what is only stated.
    """

    name: str
    value: float
    unit: str
    against: float
    basis: str
    reach: Reach | None = None

    @property
    def ratio(self) -> float:
        return self.value / self.against

    @property
    def is_reached(self) -> bool | None:
        if self.reach is None:
            return None
        seen = self.ratio if self.reach.of == "ratio" else self.value
        return seen >= self.reach.limit if self.reach.at_least else seen <= self.reach.limit

    def to_json(self) -> str:
        rounded = {"value": _round(self.value), "unit": self.unit, "against": _round(self.against)}
        return json.dumps({"name": self.name, **rounded, "ratio": _round(self.ratio)})


def to_table(figures: Sequence[Figure]) -> str:
    """For a human: what was reached and what was not."""
    heads = ("bench", "value", "against", "unit", "ratio", "reach", "ok", "samples; yardstick")
    rows = [heads, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that is not exceeded by so many percent of them. Raises ValueError without samples."""
    if not samples:
        raise ValueError("nothing was measured")
    return sorted(samples)[max(0, math.ceil(len(samples) * percent / 100) - 1)]


def _row(figure: Figure) -> tuple[str, ...]:
    verdict = {True: "ok", False: "NOT", None: ""}[figure.is_reached]
    seen = tuple(f"{_round(value):g}" for value in (figure.value, figure.against))
    reach = str(figure.reach) if figure.reach else "(stated)"
    return (figure.name, *seen, figure.unit, f"{figure.ratio:.3g}", reach, verdict, figure.basis)


def _round(value: float) -> float:
    """Four figures: no measurement here is better than that."""
    return float(f"{value:.4g}")
