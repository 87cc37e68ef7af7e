"""The yardstick of send.bulk: the same batches of claim, send and record, with no Temporal around them.

python -m bench.loop <new folder> <simulator> <the business's phone> <number of recipients>
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from activities.batch import Batch, Limit
from activities.courier import Stop
from bench.numbers import fresh_numbers
from bench.outbound import Outbound, open_outbound
from bench.store_view import StoreView
from boton.clock import utc_now
from boton.domain.messages import Lane


async def main(folder: Path, simulator: str, phone: str, total: int) -> None:
    async with open_outbound(folder, simulator, phone) as outbound:
        send = (await outbound.accept(fresh_numbers(total))).send
        for lane in send.lanes:
            await _send_all(outbound, send.id, lane)
    times = StoreView(folder / "boton.db").send_times(send.id)
    print(json.dumps({"perSecond": total / times.seconds}), flush=True)


async def _send_all(outbound: Outbound, send_id: str, lane: Lane) -> None:
    """Batch after batch, as the workflow asks for them."""
    state = "more"
    while state == "more":
        limit = Limit(Stop(), utc_now)
        state = (await Batch(outbound.courier, outbound.pacer, send_id, lane, limit).run()).why
    if state not in ("done", "lane_done"):
        raise RuntimeError(f"the loop ended with {state!r}")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])))
