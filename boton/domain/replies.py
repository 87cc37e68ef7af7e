"""Replies as a person would write them, and messages that want none. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise, takewhile
from math import ceil

from boton.domain.conversations import Line
from boton.domain.messages import MessageType, Sender
from boton.domain.words import plain_words

MOST_PARTS = 4
_WHOLE = 700
"""Characters up to which a text stays one message: its halves would be too short to stand alone."""
_PART = 600
_BREAKS = (
    re.compile(r"\n\s*\n\s*"),  # paragraphs
    re.compile(r"\n\s*"),  # lines
    re.compile(
        r"(?:(?<=\w{3}[.])|(?<=[!?…]))[\"'”’»)\]]*\s+(?![\d\s])"
    ),  # sentences; "Dr. ", "a.m. " and "1. " end none
    re.compile(r"(?<![\d$€+(\s])\s+|\s+(?![\d\s])"),  # words, but never between the digits of a number
)

_Span = tuple[int, int]


def split_reply(text: str) -> tuple[str, ...]:
    """The messages that a long reply is sent as: of about 350 to 600 characters, longer where there would be more than
    four. Cut between paragraphs where possible, else between sentences, else between words; only white space is lost.
    """
    told = text.strip()
    if len(told) <= _WHOLE:
        return (told,) if told else ()
    wanted = min(ceil(len(told) / _PART), MOST_PARTS)
    limit = ceil(len(told) / wanted)
    while len(parts := _pack(told, limit)) > wanted:
        limit += max(limit // 20, 1)
    return parts


def _pack(text: str, limit: int) -> tuple[str, ...]:
    """The pieces of a text, joined again into parts of at most `limit` characters where the pieces allow it."""
    parts: list[_Span] = []
    for start, end in _find_pieces(text, (0, len(text)), limit, 0):
        if parts and end - parts[-1][0] <= limit:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return tuple(text[start:end] for start, end in parts)


def _find_pieces(text: str, span: _Span, limit: int, level: int) -> list[_Span]:
    """What is not to be cut any further: short enough, or a single word. Each piece begins where a break ends."""
    if span[1] - span[0] <= limit or level == len(_BREAKS):
        return [span]
    cuts = [span[0], *(match.end() for match in _BREAKS[level].finditer(text, *span)), span[1]]
    pieces = [(start, start + len(text[start:end].rstrip())) for start, end in pairwise(cuts)]
    return [part for piece in pieces if piece[0] < piece[1] for part in _find_pieces(text, piece, limit, level + 1)]


# ---------------------------------------------------------------- what wants no answer

_NICETIES = frozenset(
    plain_words(
        """ok oka okay okey okis dale listo lista perfecto perfecta perfect genial buenisimo buenisima barbaro excelente
        joya bien muy bueno buena buenas tardes noches dias dia claro si sip sisi yes yep yeah sure great cool nice good
        fine gracias grax mil muchas muchisimas much thanks thank you thx ty so very a lot alright right got it
        entendido entendida anotado anotada recibido recibida de nada acuerdo igualmente saludos saludo abrazo besos
        chau chao adios bye see nos vemos hasta luego manana pronto entonces understood noted welcome
        va vale lol amen ahi estare estaremos te les los esperamos obrigado obrigada beleza"""
    )
)
_GREETINGS = frozenset(plain_words("buen buena buenas buenos tardes noches dia dias"))
"""With thanks they say good-bye; alone they begin something."""
_LAUGHTER = re.compile(r"(?:ja|je|ha|k)+j?")
_QUESTIONS = frozenset("?¿❓❔⁉👎")
_MOST_WORDS = 6
_UNSPOKEN = frozenset({MessageType.REACTION, MessageType.STICKER})


def needs_no_answer(lines: Sequence[Line]) -> bool:
    """Whether all that the customer wrote since we last did are mere reactions or bare acknowledgements."""
    newest = list(takewhile(lambda line: line.sender is Sender.CUSTOMER, reversed(lines)))
    return bool(newest) and all(_is_nicety(line) for line in newest)


def _is_nicety(line: Line) -> bool:
    if line.type is not MessageType.TEXT:
        return line.type in _UNSPOKEN
    words = plain_words(line.text)
    if words and _GREETINGS.issuperset(words):
        return False
    if any(char.isdigit() or char in _QUESTIONS for char in line.text):
        return False
    return len(words) <= _MOST_WORDS and all(word in _NICETIES or _LAUGHTER.fullmatch(word) for word in words)
