"""Conditions of the partial indexes."""

from __future__ import annotations

from sqlalchemy import text

IN_FLIGHT = text("status IN ('sending', 'unconfirmed')")
"""Of messages. Queries name it as it stands here: SQLite uses a partial index only for a condition it recognizes, and
without it every question for these few messages reads all there are.
"""


DRAFTED = text("status = 'queued' AND send_id IS NULL")
"""Of messages: what the bot or a human of the business wants to say in one chat. Named as it stands, likewise."""


DUE = text("answer = 'due'")
"""Of messages: what the bot is to answer. Named as it stands, likewise."""


OF_TURN = text("turn_id IS NOT NULL")
"""Of messages: what a turn answers or says. Named as it stands, likewise."""


SUSPENDED = text("answer = 'suspended'")
"""Of messages: after a restore, what the bot answers only when it is told to. Named as it stands, likewise."""


PENDING = text("status = 'pending'")
"""Of follow-ups. Named as it stands, likewise."""


UNFINISHED = text("status IN ('queued', 'scheduled', 'running', 'paused')")
"""Of sends. Named as it stands, likewise."""
