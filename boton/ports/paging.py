"""A page of a list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a list, counted from 0."""

    page: int
    page_size: int
