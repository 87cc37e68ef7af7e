"""How a model did in a scenario, and how that is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from bench.dialogues.checks import find_fault
from bench.dialogues.playing import Played
from bench.dialogues.scenario import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """fault: what was seen instead; None where the check holds."""

    check: Check
    fault: str | None

    def __str__(self) -> str:
        return f"{'ok ' if self.fault is None else 'NOT'} {self.check}{f': {self.fault}' if self.fault else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """turns: of the customer. messages: of the bot."""

    name: str
    verdicts: tuple[Verdict, ...]
    turns: int
    messages: int
    tokens: int
    seconds: float

    @property
    def passed(self) -> int:
        return len(self.verdicts) - len(self.failed)

    @property
    def failed(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.fault is not None]

    def to_json(self) -> str:
        """A figure as the other benches print them, with the checks that failed."""
        figure = _to_figure(self.name, self.passed, len(self.verdicts))
        return json.dumps({**figure, "failed": [str(each.check) for each in self.failed]}, ensure_ascii=False)


def score(played: Played) -> Score:
    checks = played.scenario.checks
    return Score(
        name=played.scenario.name,
        verdicts=tuple(Verdict(check=check, fault=find_fault(check, played)) for check in checks),
        turns=played.turns,
        messages=len(played.said),
        tokens=played.tokens,
        seconds=played.seconds,
    )


def to_total(scores: Sequence[Score]) -> str:
    """The last line: all checks of all scenarios, and how many scenarios passed all of theirs."""
    whole = sum(not one.failed for one in scores)
    figure = _to_figure("dialogues", sum(one.passed for one in scores), sum(len(one.verdicts) for one in scores))
    return json.dumps({**figure, "scenarios": len(scores), "passed": whole})


def to_table(scores: Sequence[Score]) -> str:
    """For a human: one line a scenario, the total last."""
    heads = ("scenario", "checks", "score", "ok", "turns", "messages", "tokens", "seconds")
    rows = [heads, *(_to_row(one) for one in scores), _to_last_row(scores)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _to_figure(name: str, passed: int, checks: int) -> dict[str, str | int | float]:
    ratio = round(passed / checks, 4) if checks else 0.0
    return {"name": name, "value": passed, "unit": "checks", "against": checks, "ratio": ratio}


def _to_row(one: Score) -> tuple[str, ...]:
    counts = (str(count) for count in (one.turns, one.messages, one.tokens))
    verdict = "ok" if not one.failed else "NOT"
    return (one.name, *_tell_share(one.passed, len(one.verdicts)), verdict, *counts, f"{one.seconds:.1f}")


def _to_last_row(scores: Sequence[Score]) -> tuple[str, ...]:
    passed, checks = sum(one.passed for one in scores), sum(len(one.verdicts) for one in scores)
    whole = f"{sum(not one.failed for one in scores)}/{len(scores)}"
    sums = (str(sum(counts)) for counts in zip(*((one.turns, one.messages, one.tokens) for one in scores), strict=True))
    seconds = sum(one.seconds for one in scores)
    return ("total", *_tell_share(passed, checks), whole, *(sums if scores else ("0",) * 3), f"{seconds:.1f}")


def _tell_share(passed: int, checks: int) -> tuple[str, str]:
    return f"{passed}/{checks}", f"{100 * passed / checks:.0f} %" if checks else "–"
