"""Where links come from: forked from one process, and as much on their own as if they were not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from tests.waiting import until
from tests.workers.conftest import PATIENCE, World
from tests.workers.hosts import is_alive
from workers.links import Links
from workers.nurseries import NoRoom, Nursery, NurseryGone
from workers.nursery import _answer_host

ENOUGH = 60.0


def children_of(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def nursery_of(link: int) -> psutil.Process:
    nursery = psutil.Process(link).parent()
    assert nursery is not None
    return nursery


async def test_nursery_has_no_thread_and_not_the_library_that_would_start_some(world: World) -> None:
    link = await world.start_link()
    nursery = nursery_of(link.pid)
    assert nursery.num_threads() == 1
    maps = await asyncio.to_thread(Path(f"/proc/{nursery.pid}/maps").read_text)
    assert "PIL" in maps, "what the library needs besides is there"
    assert "neonize" not in maps


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGABRT])
async def test_dead_link_is_told_with_its_end_and_leaves_nothing(world: World, how: signal.Signals) -> None:
    link, other = await world.start_link("con_unknown"), await world.start_link()
    nursery = nursery_of(other.pid)
    await until(lambda: link.exit_code == 4, ENOUGH)
    os.kill(other.pid, how)
    await until(lambda: other.exit_code == -how, ENOUGH)
    assert children_of(nursery.pid) == []


async def test_links_end_with_their_nursery_and_come_back_from_another(world: World) -> None:
    links = Links(lambda _: None, PATIENCE)
    async with world.held(links):
        first = await world.connected()
        link = links.running()[world.connection.id]
        nursery = nursery_of(link.pid)
        nursery.kill()
        await until(lambda: link.exit_code == -signal.SIGKILL, ENOUGH)
        await until(lambda: not is_alive(link.pid), ENOUGH)
        await world.connected(above=first.epoch)
        assert nursery_of(links.running()[world.connection.id].pid).pid != nursery.pid


async def test_start_that_nobody_waits_for_leaves_no_link(world: World) -> None:
    nursery = await Nursery.start()
    starting = asyncio.create_task(nursery.fork(world.connection.id))
    await asyncio.sleep(0)  # the request is under way
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    pid, _, told = await nursery.fork("con_unknown")
    process = nursery_of(pid)
    told.close()
    await until(lambda: all(one.status() == psutil.STATUS_ZOMBIE for one in children_of(process.pid)), ENOUGH)
    await nursery.close()
    assert not process.is_running()


async def test_machine_that_has_no_room_for_one_more_link_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of processes, say: it must not take every number of the host away."""

    def fork() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "fork", fork)
    ours, its = socket.socketpair()
    ours.setblocking(False)
    process = await asyncio.create_subprocess_exec("sleep", "60", stderr=asyncio.subprocess.PIPE)
    nursery = Nursery(process, ours)
    serving = asyncio.create_task(asyncio.to_thread(_answer_host, its))
    for _ in range(2):
        with pytest.raises(NoRoom):
            await nursery.fork("con_unknown")
    assert nursery.is_alive
    process.kill()
    await nursery.close()
    assert await serving is None


async def test_frozen_nursery_does_not_keep_its_host_from_ending() -> None:
    nursery = await Nursery.start()
    nursery._process.send_signal(signal.SIGSTOP)
    await asyncio.wait_for(nursery.close(), ENOUGH)
    assert not nursery.is_alive


async def test_signals_to_the_whole_group_are_left_to_host_and_links(world: World) -> None:
    link = await world.start_link()
    await world.connected()
    nursery = nursery_of(link.pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(nursery.pid, number)
    os.kill(link.pid, signal.SIGTERM)
    await until(lambda: link.exit_code is not None, ENOUGH)
    assert link.exit_code == 0
    assert nursery.is_running()


async def test_nursery_that_is_gone_starts_no_link() -> None:
    nursery = await Nursery.start()
    await nursery.close()
    with pytest.raises(NurseryGone):
        await nursery.fork("con_unknown")


async def test_link_that_does_not_end_is_killed_and_holds_up_no_other(world: World) -> None:
    nursery = await Nursery.start()
    hanging, *_ = await nursery.fork(world.connection.id)
    os.kill(hanging, signal.SIGSTOP)
    waiting = asyncio.create_task(nursery.wait(hanging))
    other, said, told = await nursery.fork("con_unknown")
    assert not waiting.done()
    assert (await waiting, psutil.pid_exists(hanging)) == (-signal.SIGKILL, False)
    await said.read()  # until it has closed its end
    told.close()
    assert await nursery.wait(other) == 4
    await nursery.close()
