"""How long a client of PostgreSQL waits."""

from __future__ import annotations

PATIENCE = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 30_000}
"""Of libpq: seconds, the last one milliseconds. A server that vanished without a word is given up after half a minute;
the system's own patience is a quarter of an hour.
"""
