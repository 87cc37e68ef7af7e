"""One scenario played to its end: the customer's turns, and what is known of the dialogue afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from bench.dialogues.customer import Heard, Script
from bench.dialogues.scenario import Scenario, Turn
from bench.dialogues.stage import Stage, set_stage
from bench.dialogues.transcript import Entry, Who
from boton.domain.chats import Holder
from boton.domain.conversations import OPEN_CONVERSATIONS, Conversation
from boton.domain.tokens import DEFAULT_BUDGET
from boton.ports import LanguageModel
from boton.store.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What the checks look at. turns: of the customer. ended_at_turn: of the conversation with an instruction; None
    while it goes on. systems: the rules that the model was told. tokens: that it cost; seconds: that it all took.
    """

    scenario: Scenario
    entries: tuple[Entry, ...]
    turns: int
    conversation: Conversation | None
    ended_at_turn: int | None
    holder: Holder
    opted_out: bool
    systems: frozenset[str]
    tokens: int
    seconds: float

    @property
    def said(self) -> list[Entry]:
        """What the customer got from the bot."""
        return [entry for entry in self.entries if entry.who is Who.BOT]

    @property
    def called(self) -> list[Entry]:
        return [entry for entry in self.entries if entry.who is Who.TOOL]

    def only(self, wanted: Callable[[int], bool]) -> Played:
        """With what happened at these turns alone."""
        return replace(self, entries=tuple(entry for entry in self.entries if wanted(entry.turn)))


async def play(
    scenario: Scenario,
    model: LanguageModel,
    database: Database,
    *,
    budget: int = DEFAULT_BUDGET,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Played:
    """budget: tokens of a prompt. sleep: between two tries of a busy model, in seconds. Raises BenchFailed."""
    began = time.monotonic()
    stage = await set_stage(scenario, database, model, sleep, budget)
    ended_at_turn = await _play_turns(scenario, stage)
    chat = await stage.fetch_chat()
    return Played(
        scenario=scenario,
        entries=tuple(stage.transcript.entries),
        turns=stage.transcript.turn,
        conversation=await stage.fetch_conversation(),
        ended_at_turn=ended_at_turn,
        holder=chat.held_by(stage.clock()),
        opted_out=chat.opted_out,
        systems=frozenset(stage.model.systems),
        tokens=stage.model.tokens,
        seconds=time.monotonic() - began,
    )


async def _play_turns(scenario: Scenario, stage: Stage) -> int | None:
    """At which turn the conversation ended."""
    if scenario.instruction is not None:
        await stage.open(scenario.instruction)
    script, ended_at = Script(scenario.customer.script), await _find_end(stage, None)
    while (turn := script.take_next(Heard(texts=stage.transcript.heard(), ended=ended_at is not None))) is not None:
        await _take(turn, stage)
        ended_at = await _find_end(stage, ended_at)
    return ended_at


async def _take(turn: Turn, stage: Stage) -> None:
    stage.begin_turn()
    if turn.wait is not None:
        await stage.pass_time(turn.wait)
    if turn.human is not None:
        await stage.take_over(turn.human)
    if turn.say:
        await stage.receive(turn.say)


async def _find_end(stage: Stage, known: int | None) -> int | None:
    if known is not None:
        return known
    conversation = await stage.fetch_conversation()
    is_over = conversation is not None and conversation.status not in OPEN_CONVERSATIONS
    return stage.transcript.turn if is_over else None
