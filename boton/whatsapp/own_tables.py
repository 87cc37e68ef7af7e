"""Our own tables beside the library's: what a number's next process must find.

`whatsmeow_*` belong to the library, which creates and migrates them; they are only read here.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, String, Table

METADATA = MetaData()

DEVICES = Table(
    "boton_devices",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("jid", String, nullable=False),
    Column("key", LargeBinary, nullable=False),
    Column("linked_ms", BigInteger, nullable=False),
)
"""The linked device of each connection. key: from which the secrets of our attempts are derived."""

EPOCHS = Table(
    "boton_epochs",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("host", String, nullable=False),
    Column("left_in_order", Boolean, nullable=False, default=False),
)
"""Every process that has opened a number. host: the start of its machine and the file that it has locked there."""

EVENTS = Table(
    "boton_events",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("code", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
"""Raw events, as the library gave them, until the store has what they say."""

UNREAD = Table(
    "boton_unread",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("code", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False),
)
"""Raw events that the version which got them could not read."""

OURS = Table(
    "boton_ours",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("message_id", String, primary_key=True),
    Column("attempt_id", String),
    Column("at_ms", BigInteger),
)
"""Ids of messages of ours. attempt_id: where it is known whose they are. at_ms: when WhatsApp proved to have them, by
its answer to the send or by a receipt.
"""

ADDRESSES = Table(
    "boton_addresses",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("jid", String, primary_key=True),
    Column("canonical", String, nullable=False),
)
"""The JID under which WhatsApp knows whom we call by another spelling of the number."""

RECIPIENTS = Table(
    "boton_recipients",
    METADATA,
    Column("connection_id", String, primary_key=True),
    Column("jid", String, primary_key=True),
)
"""The phone JIDs that were written to: who is meant by their LIDs may be read in the library's map, which is not per
number.
"""
