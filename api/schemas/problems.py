"""Errors as RFC 9457 tells them."""

from __future__ import annotations

from api.schemas.base import Document
from api.schemas.sends import RejectedOut


class FieldError(Document):
    """What to change in one field: `to.0`, `page`."""

    path: str
    detail: str


class Problem(Document):
    """`detail` says what to change; `code` is stable and for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | None = None
    rejected: list[RejectedOut] | None = None
