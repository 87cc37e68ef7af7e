"""How long a client of PostgreSQL waits, and how long others wait for a client."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, event

PATIENCE = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 30_000}
"""Of libpq: seconds, the last one milliseconds. A server that vanished without a word is given up after half a minute;
the system's own patience is a quarter of an hour.
"""

FROZEN_SECONDS = 20
"""Without a word in the middle of a transaction; ours say the next one within milliseconds."""

TRANSACTION_ENDED = "25P03"
"""The SQLSTATE that who was frozen gets to hear: nothing of the transaction is there any more."""


def end_frozen(engine: Engine) -> None:
    """The server ends a transaction whose client is there and says nothing: a stopped process would keep its locks
    for ever, and whoever is to take its number over would wait for them.
    """
    event.listen(engine, "connect", _set_limit)


def _set_limit(driver: Any, _record: object) -> None:
    driver.execute(f"SET idle_in_transaction_session_timeout = '{FROZEN_SECONDS}s'")
    driver.commit()
