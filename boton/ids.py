"""Ids: prefixed by what they name and sortable by when they were made (`snd_01M8…`)."""

from __future__ import annotations

from enum import StrEnum

from ulid import ULID


class Prefix(StrEnum):
    BUSINESS = "biz"
    CONNECTION = "con"
    CHAT = "cht"
    MESSAGE = "msg"
    SEND = "snd"
    CONVERSATION = "cnv"
    TURN = "trn"
    REMINDER = "rem"
    FIRING = "fir"
    FOLLOW_UP = "fup"
    EVENT = "evt"
    TOKEN = "tok"  # noqa: S105
    ATTEMPT = "att"


def new_id(prefix: Prefix) -> str:
    """A fresh id. Within one process later ids sort after earlier ones."""
    return f"{prefix.value}_{ULID()}"
