"""What goes out, as the library takes it. Pure."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

from boton.domain.gateway import Attempt
from boton.domain.jid import parse_jid
from boton.errors import InvalidRecipient, RecipientRefused
from boton.whatsapp.neonize_library import MessageProto


def to_message(attempt: Attempt, secret: bytes) -> Any:
    """Plain text, exactly as written: of an ordinary string the library would make mentions and group look-ups."""
    try:
        message = MessageProto(conversation=attempt.text)
    except ValueError:
        raise RecipientRefused("invalid", "The text holds characters that are no text.") from None
    message.messageContextInfo.messageSecret = secret
    return message


def to_secret(key: bytes, attempt_id: str) -> bytes:
    """The 32 bytes by which an attempt is found again in the library's database, by any process that has the key: the
    library writes them there, with the id it gave the message, before the message reaches the wire.
    """
    return hmac.digest(key, f"boton attempt {attempt_id}".encode(), hashlib.sha256)


def to_address(jid: str) -> str:
    """Raises RecipientRefused for what is no person's JID."""
    try:
        return str(parse_jid(jid))
    except InvalidRecipient as error:
        raise RecipientRefused(error.code, error.detail) from error
