"""How much is measured: everything, or a part of it for a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """factor 1: the sizes that the figures are stated for."""

    factor: float = 1.0

    def of(self, full: int, *, least: int = 2) -> int:
        """So many of `full`; never more than that, nor fewer than `least`."""
        return min(full, max(least, round(full * self.factor)))
