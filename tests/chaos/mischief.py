"""Kills, freezes and cuts off parts of a running stack, and sees that everything is whole again at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from tests.acceptance.stack import Stack
from tests.acceptance.waiting import wait_for
from tests.chaos.patient import Patient
from tests.chaos.plan import EVERY_PART, Act, Deed, Moment

LOST_ACKS = 0.01
_CUTS = 0.002
_REFUSALS = 0.3
_LATENCIES = (10, 60, 250, 600)
"""Milliseconds: a bulk is to last for some blows."""

_DOUBTS = frozenset({"link", "connections", "simulator", "everything"})
"""Whose death or freezing may leave an attempt of which only the network knows whether it left."""


class Mischief:
    """`await_moment` waits for what a blow is aimed at, and answers what it fell into.

    kills, freezes and cuts: how many there were of each kind; moments: of the kills. deaths: when processes ended, by
    the wall clock. doubts: how many may have left attempts open.
    """

    def __init__(
        self,
        stack: Stack,
        phones: Patient,
        random: Random,
        *,
        forgetful: bool,
        lost_acks: float = LOST_ACKS,
        await_moment: Callable[[Moment], Moment] = lambda _: Moment.ANY,
    ) -> None:
        self._stack = stack
        self._phones = phones
        self._random = random
        self._forgetful = forgetful
        self._lost_acks = lost_acks
        self._await_moment = await_moment
        self._undoing: list[threading.Timer] = []
        self._weather = threading.Lock()
        self._fault: dict[str, Any] = {}
        self.kills: Counter[str] = Counter()
        self.freezes: Counter[str] = Counter()
        self.cuts: Counter[str] = Counter()
        self.moments: Counter[str] = Counter()
        self.deaths: list[tuple[float, str]] = []
        self.doubts = 0

    def begin(self) -> None:
        """From now on acknowledgements get lost."""
        self._change_weather({})

    def perform(self, act: Act) -> bool:
        """False when it is not possible now: that part is being restarted."""
        if act.part and not self._stack.living(act.part):
            return False
        moment = self._await_moment(act.moment)
        match act.deed:
            case Deed.KILL:
                return self._kill(act.part, moment)
            case Deed.FREEZE:
                return self._freeze(act)
            case Deed.CUT:
                return self._spoil("offline", {"offline": True}, act.seconds)
            case Deed.REFUSE:
                return self._spoil(str(act.code), {"rejectRate": _REFUSALS, "rejectCode": act.code}, act.seconds)
            case Deed.FALL:
                return self._fall(moment)

    def end(self) -> None:
        """No faults any more, nothing frozen, every part alive."""
        for undoing in self._undoing:
            undoing.join()
        self._put_faults({"forgetful": self._forgetful})
        for part in EVERY_PART:
            wait_for(lambda part=part: self._stack.living(part), 90, f"a living {part}")  # type: ignore[misc]

    # ------------------------------------------------------------ processes

    def _kill(self, part: str, moment: Moment) -> bool:
        if self._signal(part, signal.SIGKILL, self.kills) is None:
            return False
        self._note_death(part, moment)
        return True

    def _note_death(self, part: str, moment: Moment) -> None:
        self.deaths.append((time.time(), part))
        self.moments[moment] += 1

    def _signal(self, part: str, number: signal.Signals, tally: Counter[str]) -> int | None:
        pid = self._stack.living(part)
        if not pid:
            return None
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return None  # it has ended meanwhile
        self._tell(part, tally)
        return pid

    def _freeze(self, act: Act) -> bool:
        pid = self._signal(act.part, signal.SIGSTOP, self.freezes)
        if pid is None:
            return False
        self._later(act.seconds, lambda: self._thaw(pid))
        return True

    def _thaw(self, pid: int) -> None:
        """Unless somebody has ended it, and its number may be another's by now."""
        if pid in self._stack.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _fall(self, moment: Moment) -> bool:
        """As in a power cut; and Temporal's file is lost."""
        self._tell("everything", self.kills)
        self._stack.process.kill()
        self._stack.process.wait()
        wait_for(lambda: not self._stack.processes(), 30, "the end of all processes")
        self._note_death("everything", moment)
        for file in (self._stack.up_file, *self._stack.data_dir.glob("temporal.db*")):
            file.unlink(missing_ok=True)
        self._stack.start()
        return True

    def _tell(self, part: str, tally: Counter[str]) -> None:
        tally[part] += 1
        self.doubts += part in _DOUBTS

    # ------------------------------------------------------------ the network

    def _spoil(self, name: str, fault: dict[str, Any], seconds: float) -> bool:
        self.cuts[name] += 1
        self._change_weather(fault)
        self._later(seconds, lambda: self._change_weather({}))
        return True

    def _change_weather(self, fault: dict[str, Any]) -> None:
        """The usual faults and this one; other latency, other dice. Repeated while the simulator is down."""
        with self._weather:
            usual = {"loseAckRate": self._lost_acks, "disconnectRate": _CUTS, "forgetful": self._forgetful}
            chance = {"latencyMs": self._random.choice(_LATENCIES), "seed": self._random.getrandbits(31)}
            self._put_faults(usual | chance | fault)

    def _put_faults(self, faults: dict[str, Any]) -> None:
        answer = self._phones.request("PUT", "/faults", json=faults)
        assert answer.status_code == 200, answer.text

    def _later(self, seconds: float, undo: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, undo)
        timer.start()
        self._undoing.append(timer)
