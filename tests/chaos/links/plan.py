"""Which link is killed at which second, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class LinksPlan:
    """victims: for each second the place of a number; where its link does not run then, the next one's is killed."""

    seed: int
    links: int
    victims: Sequence[int]


def make_links_plan(seed: int, *, links: int, kills: int) -> LinksPlan:
    """The same for the same seed and size."""
    random = Random(f"links:{seed}")
    return LinksPlan(seed=seed, links=links, victims=tuple(random.randrange(links) for _ in range(kills)))
