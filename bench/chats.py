"""chats.list: a page of GET /chats of a business with very many chats, beside that of one with few."""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median

from bench.figures import Figure, Reach
from bench.filling import fill_store
from bench.progress import say
from bench.rest import Rest
from bench.scale import Scale
from bench.stack import running_stack, scratch

_SAMPLES = 200
_WARM_UP = 20
_CHATS = 100_000
_MESSAGES_EACH = 10
_FEW_CHATS = 100
_PAGE_SIZE = 50
_DEEP_PAGE = 1000


async def run(scale: Scale) -> list[Figure]:
    """Two stacks, each on a store of its own, asked in turn."""
    chats = scale.of(_CHATS, least=1000)
    deep_page = min(_DEEP_PAGE, chats // _PAGE_SIZE - 1)
    with scratch() as folder:
        say(f"chats.list: a store with {chats} chats and {chats * _MESSAGES_EACH} messages is filled")
        many, few = folder / "many", folder / "few"
        many_token = await asyncio.to_thread(fill_store, many, chats, _MESSAGES_EACH)
        few_token = await asyncio.to_thread(fill_store, few, _FEW_CHATS, _MESSAGES_EACH)
        first, deep, against = _measure(many, many_token, few, few_token, deep_page, scale.of(_SAMPLES, least=10))
    basis = f"{len(first)} alternating, {chats} chats; the first page with {_FEW_CHATS} chats"
    return [
        _figure("chats.list", first, against, f"first page, {basis}"),
        _figure("chats.list.deep", deep, against, f"page {deep_page}, {basis}"),
    ]


def _measure(
    many: Path, many_token: str, few: Path, few_token: str, deep_page: int, samples: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds of the first page and of the deep one of many, and of the first page of few."""
    first, deep, against = [], [], []
    with running_stack(many) as large, running_stack(few) as small:
        of_many, of_few = large.api(many_token), small.api(few_token)
        for _ in range(_WARM_UP + samples):
            against.append(_list(of_few, 0))
            first.append(_list(of_many, 0))
            deep.append(_list(of_many, deep_page))
    return first[_WARM_UP:], deep[_WARM_UP:], against[_WARM_UP:]


def _list(api: Rest, page: int) -> float:
    answer = api.call("GET", f"/chats?page={page}&pageSize={_PAGE_SIZE}")
    assert len(answer.body["chats"]) == _PAGE_SIZE
    return answer.seconds


def _figure(name: str, seconds: list[float], against: list[float], basis: str) -> Figure:
    return Figure(
        name=name,
        value=median(seconds) * 1000,
        unit="ms",
        against=median(against) * 1000,
        basis=basis,
        reach=Reach(1.5),
    )
