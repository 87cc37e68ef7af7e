"""The yardstick of link.flood: the same messages given straight to the store, in the batches in which a link does it.

python -m bench.recorded <new folder> <number of messages> <number of chats>
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from boton.clock import utc_now
from boton.domain.connections import Gateway
from boton.domain.gateway import GatewayEvent, Inbound
from boton.store.businesses import SqlBusinessStore
from boton.store.connections import SqlConnectionStore
from boton.store.engine import open_database
from boton.store.inbox import SqlInboxStore
from boton.store.migrate import migrate

_AT_ONCE = 200
_FIRST = 5491140000001


async def main(folder: Path, total: int, chats: int) -> None:
    url = f"sqlite:///{folder / 'boton.db'}"
    migrate(url)
    database, now = open_database(url), utc_now()
    business = await SqlBusinessStore(database).create_business("Bench", bot_new_chats=False, now=now)
    connections = SqlConnectionStore(database)
    connection = await connections.create_connection(business.id, Gateway.WHATSAPP, str(_FIRST - 1), now)
    epoch = await connections.raise_epoch(connection.id, now)
    inbox, events = SqlInboxStore(database), [_event(place, place % chats) for place in range(1, total + 1)]
    began = time.perf_counter()
    for start in range(0, total, _AT_ONCE):
        await inbox.record_events(connection.id, epoch, events[start : start + _AT_ONCE], utc_now())
    print(json.dumps({"seconds": time.perf_counter() - began}), flush=True)
    await database.close()


def _event(place: int, chat: int) -> GatewayEvent:
    phone = f"{_FIRST + chat}@s.whatsapp.net"
    inbound = Inbound(
        whatsapp_id=f"3EB0{place:016X}",
        jid=phone,
        also_known_as=(f"7{_FIRST + chat}@lid",),
        push_name="Juan",
        text=f"mensaje {place}",
        at=utc_now(),
    )
    return GatewayEvent(cursor=place, body=inbound)


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir()
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
