"""From POST /connection to a running link, with the played WhatsApp; and what a kill on the way leaves."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.talk import Numbers, await_delivered
from tests.acceptance.waiting import wait_for
from tests.acceptance.whatsapp import NUMBER, SECONDS, PlayedStack, played
from tests.whatsapp.owner import Step

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def module_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedStack]:
    yield from played(tmp_path_factory.mktemp("whatsapp"))


@pytest.fixture
def world(module_world: PlayedStack) -> PlayedStack:
    """With no number."""
    module_world.log_out()
    return module_world


def assert_works(world: PlayedStack, customer: str) -> None:
    """One message goes out, one comes in and is answered, by one link."""
    world.phone.add_phone(customer)
    await_delivered(world.api, world.api.send(customer, message="hola")["id"])
    assert world.received(customer) == ["hola"]
    world.phone.customer_writes(customer, "¿qué tal?")
    wait_for(lambda: any("«¿qué tal?»" in text for text in world.received(customer)), SECONDS, "the bot's answer")
    assert len(world.links()) == 1


def reasons(world: PlayedStack, after: int) -> list[str]:
    """Why the number stood as it did, since an event."""
    events = world.api.get("/events", after=after, limit=1000)["events"]
    return [str(one["data"]["reason"]) for one in events if one["type"] == "connection.changed"]


@pytest.mark.parametrize("kind", ["qr", "pairingCode"])
def test_code_that_the_phone_takes_ends_in_a_running_link(world: PlayedStack, numbers: Numbers, kind: str) -> None:
    before = world.api.last_seq()
    by_code = {"method": "code", "phone": NUMBER} if kind == "pairingCode" else {}
    asked = world.ask(**by_code)
    assert (asked["status"], asked["gateway"]) == ("linking", "whatsapp")
    code = world.await_code(kind)
    pictures = [world.api.request("GET", f"/connection/qr.{form}").status_code for form in ("png", "svg")]
    assert pictures == ([404, 404] if by_code else [200, 200])
    jid = world.phone.use(code)
    linked = world.await_status("connected")
    assert (linked["phone"], linked["qr"], linked["pairingCode"]) == (NUMBER, None, None)
    assert world.phone.linked[-1:] == [jid]
    assert world.find("workers.pairing") == []
    assert any("has taken the link" in reason for reason in reasons(world, before)), "told while chats are waited for"
    assert_works(world, numbers.next())


@pytest.mark.parametrize("step", [None, Step.DEVICE_WRITTEN])
def test_pairing_that_is_killed_on_the_way_asks_anew(world: PlayedStack, numbers: Numbers, step: Step | None) -> None:
    """The number is never half linked: what follows is a whole linking."""
    world.ask()
    first = world.await_code()
    if step is not None:
        world.phone.use(first, until=step)
    world.kill_pairing()
    world.phone.use(world.await_code(but=first))
    world.await_status("connected")
    assert_works(world, numbers.next())


def test_pairing_that_is_killed_once_the_phone_has_the_device_is_linked_all_the_same(
    world: PlayedStack, numbers: Numbers
) -> None:
    """Before the device has connected for the first time."""
    world.ask()
    jid = world.phone.use(world.await_code(), until=Step.PAIRED)
    wait_for(lambda: world.has_device(jid), SECONDS, "the device")
    world.kill_pairing()
    world.await_status("connected")
    assert_works(world, numbers.next())


def test_pairing_that_is_killed_before_it_is_recorded_is_linked_all_the_same(
    world: PlayedStack, numbers: Numbers
) -> None:
    """The phone has the device already, and so has the device store: nobody is asked to scan again."""
    world.ask()
    code = world.await_code()
    with closing(sqlite3.connect(world.stack.data_dir / "boton.db", isolation_level=None, timeout=60)) as store:
        store.execute("BEGIN IMMEDIATE")
        jid = world.phone.use(code)
        wait_for(lambda: world.has_device(jid), SECONDS, "the device")
        world.kill_pairing()
        store.execute("ROLLBACK")
    world.await_status("connected")
    assert_works(world, numbers.next())


def test_phone_forgets_a_device_whose_link_could_not_tell_it(world: PlayedStack) -> None:
    jid = world.link()
    (pid,) = world.links()
    os.kill(pid, signal.SIGSTOP)
    world.api.request("DELETE", "/connection")
    wait_for(lambda: jid not in world.phone.linked, SECONDS, lambda: f"the phone to forget it\n{world.stack.logs()}")
    wait_for(lambda: not world.has_device(jid), SECONDS, "its keys to go")
    assert world.api.get("/connection")["status"] == "none"


def test_number_that_is_restored_without_its_device_is_linked_again_by_one_call(
    world: PlayedStack, numbers: Numbers
) -> None:
    old = world.link()
    assert world.stack.run("backup", "--force", "monday.db").returncode == 0
    world.stack.stop()
    shutil.rmtree(world.devices.folder)
    restored = world.stack.run("restore", "--replace", "monday.db")
    assert "boton link biz_" in restored.stdout, restored.stderr
    world.stack.start()
    world.ask()
    jid = world.phone.use(world.await_code())
    world.await_status("connected")
    assert_works(world, numbers.next())
    assert world.phone.linked[-2:] == [old, jid], "the old device is the phone's to remove"
