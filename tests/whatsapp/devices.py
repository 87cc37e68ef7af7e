"""Linked devices as the library writes them, without a phone."""

from __future__ import annotations

import os

from sqlalchemy import text

from boton.whatsapp.device_store import DeviceStore

_ROW = text(
    "INSERT INTO whatsmeow_device (jid, lid, registration_id, noise_key, identity_key, signed_pre_key, "
    "signed_pre_key_id, signed_pre_key_sig, adv_key, adv_details, adv_account_sig, adv_account_sig_key, "
    "adv_device_sig, platform, business_name, push_name) VALUES (:jid, :lid, 1, :key, :key, :key, 1, :sig, :key, "
    ":key, :sig, :key, :sig, 'android', '', 'Mi, Negocio')"
)


def link_device(store: DeviceStore, connection_id: str, phone: str, lid: str = "900") -> str:
    """The JID of a device that is the connection's. The library's tables must exist."""
    jid = f"{phone}:7@s.whatsapp.net"
    add_device(store, connection_id, jid, lid)
    store.assign(connection_id, jid)
    return jid


def add_device(store: DeviceStore, connection_id: str, jid: str, lid: str = "900") -> None:
    """What the library does when a phone was linked."""
    with store.engine(connection_id).begin() as sql:
        row = {"jid": jid, "lid": f"{lid}:7@lid", "key": os.urandom(32), "sig": os.urandom(64)}
        sql.execute(_ROW, row)
