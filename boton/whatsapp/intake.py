"""What the library tells, on its own thread: on disk before anything is made of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from boton.whatsapp.inbound import HISTORY, read_proofs, to_keep
from boton.whatsapp.journal import Journal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """event: None where this version cannot read it. kept: whether the journal has it."""

    event: Any
    kept: bool


def take_in(journal: Journal, code: int, payload: bytes, parse: Callable[[int, bytes], Any]) -> Taken:
    """Journals an event that is for us. It is looked at before only to leave out what must be stored nowhere: groups,
    and those in a history. What cannot be read is kept as it came. Raises SQLAlchemyError when it cannot be kept.
    """
    event: Any = None
    kept: bytes | None = None if code == HISTORY else payload
    proved: tuple[str, ...] = ()
    try:
        event = parse(code, payload)
        kept, proved = to_keep(event, payload), tuple(read_proofs(event))
    except Exception as error:  # noqa: BLE001 - whatever a payload of tomorrow makes of our reading
        log.error("event cannot be read", extra={"event": code, "reason": type(error).__name__})
    if kept is not None:
        journal.append(code, kept, proved)
    return Taken(event, kept is not None)
