from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from boton.domain.messages import MessageStatus
from boton.domain.sends import Send, SendCategory, SendKind, SendStatus, fill_in, to_progress

NOW = datetime(2026, 11, 20, 18, 0, tzinfo=UTC)


def _send(status: SendStatus, finished_at: datetime | None = None, **counts: int) -> Send:
    """Started ten minutes ago."""
    return Send(
        id="snd_1",
        business_id="biz_1",
        connection_id="con_1",
        kind=SendKind.MESSAGE,
        category=SendCategory.TRANSACTIONAL,
        status=status,
        total=sum(counts.values()),
        rejected=(),
        created_at=NOW - timedelta(minutes=11),
        started_at=NOW - timedelta(minutes=10),
        finished_at=finished_at,
        counts={MessageStatus(name): count for name, count in counts.items()},
    )


@pytest.mark.parametrize(
    ("text", "filled", "missing"),
    [
        ("Hola {{name}}", "Hola Juan", ()),
        ("Hola {{ name }}, {{name}}", "Hola Juan, Juan", ()),
        ("{{turn.date}} {{first-name}}", "mañana Juana", ()),
        ("{{inner}}", "{{name}}", ()),
        ("{{nobody}} {{name}} {{nobody}} {{none}}", "{{nobody}} Juan {{nobody}} {{none}}", ("nobody", "none")),
        ("{name} {{}} {{ a b }}", "{name} {{}} {{ a b }}", ()),
        ("", "", ()),
    ],
)
def test_placeholders_are_replaced_once_and_the_missing_are_named(
    text: str, filled: str, missing: tuple[str, ...]
) -> None:
    variables = {"name": "Juan", "turn.date": "mañana", "first-name": "Juana", "inner": "{{name}}"}
    assert fill_in(text, variables) == (filled, missing)


def test_rate_counts_what_left_and_not_what_never_will() -> None:
    left = {"sent": 3, "delivered": 4, "read": 2, "unconfirmed": 1}
    for never in ("cancelled", "expired", "failed"):
        ended = _send(SendStatus.CANCELLED, NOW, **left, **{never: 990})
        progress = to_progress(ended, None, NOW + timedelta(hours=1))
        assert (progress.done, progress.rate, progress.estimated_end) == (1000, 1.0, NOW)


def test_end_is_foreseen_from_what_is_final_unless_the_pace_tells_it() -> None:
    running = _send(SendStatus.RUNNING, delivered=5, failed=5, queued=9, sending=1)
    assert to_progress(running, None, NOW).estimated_end == NOW + timedelta(minutes=10)
    paced_end = NOW + timedelta(days=1)
    assert to_progress(running, paced_end, NOW).estimated_end == paced_end
    assert to_progress(_send(SendStatus.PAUSED, delivered=5, queued=5), None, NOW).estimated_end is None
