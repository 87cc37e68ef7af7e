"""What all documents share: camelCase names, times in UTC ending in `Z`, no unknown fields coming in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from boton.ports import Page

MAX_PAGE_SIZE = 50


def to_timestamp(at: datetime) -> str:
    """ISO 8601 in UTC with milliseconds, ending in `Z`."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(to_timestamp, return_type=str, when_used="json")]


def told_once(detail: str) -> WrapValidator:
    """For a field of several types: one error under the field's own path, instead of one for each type."""

    def validate(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("one_of_several", "{detail}", {"detail": detail}) from None

    return WrapValidator(validate)


class Document(BaseModel):
    """Something that is answered."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True)


class Body(BaseModel):
    """Something that is sent to us. A typo in a field's name must not be lost: unknown fields are refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, hide_input_in_errors=True)


class Listing(Document):
    """A page of a list. `pageSize` is the one that was applied."""

    total: int
    page: int
    page_size: int
    has_more: bool


def to_paging(page: Page, total: int) -> dict[str, Any]:
    """The fields of a Listing beside its things."""
    has_more = (page.page + 1) * page.page_size < total
    return {"total": total, "page": page.page, "page_size": page.page_size, "has_more": has_more}
