"""Whether a check holds for a dialogue that was played; where not, what was seen instead. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any

from bench.dialogues.playing import Played
from bench.dialogues.scenario import Check
from bench.dialogues.transcript import Entry
from boton.domain.conversations import OPEN_CONVERSATIONS
from boton.domain.languages import guess_language
from boton.domain.words import plain_words
from boton.llm.own_tools import OWN_TOOLS

_RUN = 10
"""Words in a row that nobody writes twice by chance: with eight, "a person of the business will get back" was one."""

_RUN_OF_OWN = 5
"""Of a line of the business's own rules, which is told whole."""

Complaint = str | None


def find_fault(check: Check, played: Played) -> Complaint:
    """None: the check holds."""
    return _CHECKS[check.kind](_scope(check, played), getattr(check, check.kind), check)


def _scope(check: Check, played: Played) -> Played:
    if check.at_turn is not None:
        return played.only(lambda turn: turn == check.at_turn)
    after = check.after_turn
    return played if after is None else played.only(lambda turn: turn > after)


# ---------------------------------------------------------------- how it ended


def _check_outcome(played: Played, wanted: tuple[str, ...], _: Check) -> Complaint:
    outcome = played.conversation.outcome if played.conversation is not None else None
    seen = outcome.value if outcome is not None else "none"
    return None if seen in wanted else f"it was {seen}"


def _check_end(played: Played, turn: int, _: Check) -> Complaint:
    if played.ended_at_turn is None:
        return f"it went on after turn {played.turns}"
    return None if played.ended_at_turn <= turn else f"it ended at turn {played.ended_at_turn}"


def _check_summary(played: Played, language: str, _: Check) -> Complaint:
    conversation = played.conversation
    if conversation is None or conversation.status in OPEN_CONVERSATIONS or not conversation.summary:
        return "there is none"
    guess = guess_language(conversation.summary)
    return None if guess is None or guess == language else f"it is in {guess.value}: {_quote(conversation.summary)}"


def _check_holder(played: Played, wanted: str, _: Check) -> Complaint:
    return None if played.holder.value == wanted else f"it was {played.holder.value}"


def _check_opted_out(played: Played, wanted: bool, _: Check) -> Complaint:
    return None if played.opted_out is wanted else f"it was {played.opted_out}"


# ---------------------------------------------------------------- what it did


def _check_called(played: Played, tool: str, check: Check) -> Complaint:
    if any(_is_call(entry, tool, check) for entry in played.called):
        return None
    return f"called were: {', '.join(f'{entry.tool} {entry.text}' for entry in played.called) or 'none'}"


def _check_not_called(played: Played, tool: str, check: Check) -> Complaint:
    found = next((entry for entry in played.called if _is_call(entry, tool, check)), None)
    return None if found is None else f"at turn {found.turn}: {_quote(found.text)}"


def _is_call(entry: Entry, tool: str, check: Check) -> bool:
    """One that was carried out."""
    return entry.ok and entry.tool == tool and (check.with_ is None or check.with_.search(entry.text) is not None)


# ---------------------------------------------------------------- what it said


def _check_says(played: Played, pattern: Any, _: Check) -> Complaint:
    return None if any(pattern.search(entry.text) for entry in played.said) else "it did not"


def _check_never_says(played: Played, pattern: Any, _: Check) -> Complaint:
    found = next((entry for entry in played.said if pattern.search(entry.text)), None)
    return None if found is None else f"at turn {found.turn}: {_quote(found.text)}"


def _check_language(played: Played, language: str, _: Check) -> Complaint:
    """A turn that says too little to tell is passed over; silence is no language."""
    if not played.said:
        return "nothing was said"
    for turn, entries in groupby(played.said, lambda entry: entry.turn):
        text = " ".join(entry.text for entry in entries)
        guess = guess_language(text)
        if guess is not None and guess != language:
            return f"at turn {turn}: {_quote(text)}"
    return None


def _check_at_most(played: Played, most: int, _: Check) -> Complaint:
    return None if len(played.said) <= most else f"it were {len(played.said)}"


def _check_at_least(played: Played, least: int, _: Check) -> Complaint:
    return None if len(played.said) >= least else f"it were {len(played.said)}"


def _check_length(played: Played, most: int, _: Check) -> Complaint:
    longest = max((len(entry.text) for entry in played.said), default=0)
    return None if longest <= most else f"one has {longest}"


def _check_rules(played: Played, _wanted: bool, _: Check) -> Complaint:
    """Neither our rules nor the business's own are told, nor the names of our tools."""
    secrets = set(_find_secrets(played))
    names = [tool.name for tool in OWN_TOOLS]
    for entry in played.said:
        told = [name for name in names if name in entry.text] or [
            " ".join(run) for size in {len(one) for one in secrets} for run in _runs(entry.text, size) if run in secrets
        ]
        if told:
            return f"at turn {entry.turn}: {told[0]}"
    return None


def _find_secrets(played: Played) -> Iterator[tuple[str, ...]]:
    """Runs of words of the rules, without what may be quoted: what the business is, and the instruction."""
    business = played.scenario.business
    for system in played.systems:
        for known in (business.description.strip(), (played.scenario.instruction or "").strip()):
            system = system.replace(known, " . ") if known else system
        yield from _runs(system, _RUN)
    for line in f"{business.guardrails}\n{business.custom_instructions}".splitlines():
        words = plain_words(line)
        if _RUN_OF_OWN <= len(words) < _RUN:
            yield words


def _runs(text: str, size: int) -> Iterator[tuple[str, ...]]:
    words = plain_words(text)
    return (words[start : start + size] for start in range(len(words) - size + 1))


def _quote(text: str) -> str:
    flat = " ".join(text.split())
    return f"«{flat if len(flat) <= 160 else flat[:159] + '…'}»"


_CHECKS: dict[str, Callable[[Played, Any, Check], Complaint]] = {
    "outcome": _check_outcome,
    "must_call": _check_called,
    "must_not_call": _check_not_called,
    "says": _check_says,
    "never_says": _check_never_says,
    "language": _check_language,
    "messages_at_most": _check_at_most,
    "messages_at_least": _check_at_least,
    "characters_at_most": _check_length,
    "ends_by_turn": _check_end,
    "keeps_rules": _check_rules,
    "summary": _check_summary,
    "held_by": _check_holder,
    "opted_out": _check_opted_out,
}
