"""What a request is to say: exactly one of message and instruction, with its variables filled in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from api.recipients import Wanted
from api.schemas.sends import MAX_INSTRUCTION, MAX_MESSAGE
from boton.domain.sends import SendKind, fill_in
from boton.errors import Invalid, InvalidRecipient


@dataclass(frozen=True, slots=True)
class Content:
    """The text before variables are filled in; `variables` is None when the request has none at all."""

    kind: SendKind
    text: str
    longest: int
    variables: Mapping[str, str | int] | None


def read_content(
    message: str | None,
    instruction: str | None,
    variables: Mapping[str, str | int] | None = None,
    wanted: Iterable[Wanted] = (),
) -> Content:
    """Raises Invalid unless exactly one of message and instruction is there and says something."""
    if (message is None) == (instruction is None):
        raise Invalid(
            "Give exactly one of message and instruction.", (("message", "exactly one of message and instruction"),)
        )
    kind = SendKind.MESSAGE if instruction is None else SendKind.INSTRUCTION
    text = message or instruction or ""
    if not text.strip():
        raise Invalid(f"The {kind} is blank.", ((kind.value, "must hold more than spaces"),))
    longest = MAX_MESSAGE if kind is SendKind.MESSAGE else MAX_INSTRUCTION
    # Variables given for one recipient only turn replacement on for all: nobody must be sent a raw `{{name}}`.
    given = variables is not None or any(one.variables is not None for one in wanted)
    return Content(kind, text, longest, (variables or {}) if given else None)


def write_text(content: Content, wanted: Wanted) -> str:
    """The text for one recipient. Raises InvalidRecipient."""
    if content.variables is None:
        return content.text
    values = {name: str(value) for name, value in {**content.variables, **(wanted.variables or {})}.items()}
    text, missing = fill_in(content.text, values)
    if missing:
        raise InvalidRecipient("missing_variable", f"no value for {', '.join(missing)}")
    if len(text) > content.longest:
        raise InvalidRecipient("too_long", f"{len(text)} characters with the variables; at most {content.longest}")
    if not text.strip():
        raise InvalidRecipient("empty", "nothing is left when the variables are filled in")
    return text
