"""What can be wrong with a request to the API alone."""

from __future__ import annotations

from boton.domain.sends import Rejected
from boton.errors import Invalid


class AllRejected(Invalid):
    """None of the recipients can be written to; nothing was stored. `errors` are by path, in the same order."""

    code = "all_rejected"

    def __init__(self, rejected: tuple[Rejected, ...], errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__("None of the recipients can be written to; nothing was stored.", errors)
        self.rejected = rejected
