"""What routes ask for: who is calling, the services, and parameters that several routes share."""

from __future__ import annotations

import re
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

from api.recipients import find_jid
from api.schemas.base import MAX_PAGE_SIZE
from api.services import Services
from api.starting import Launcher
from boton.domain import businesses
from boton.domain.jid import parse_recipient
from boton.errors import Invalid, InvalidRecipient, NotFound
from boton.ports import Page

_FARTHEST_PAGE = 2**40
"""Pages beyond are as empty as this one, and their offset would overflow a database's integer."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_bearer = HTTPBearer(auto_error=False, description="A business's token: page /, heading API Access.")


async def get_services(request: Request) -> Services:
    return cast(Services, request.app.state.services)


async def get_launcher(request: Request) -> Launcher:
    return cast(Launcher, request.app.state.launcher)


Deps = Annotated[Services, Depends(get_services)]
Starting = Annotated[Launcher, Depends(get_launcher)]


async def require_token(
    services: Deps, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> businesses.Caller:
    """Who calls, by the token of this request. Raises HTTPException 401."""
    caller = None
    if credentials is not None:
        caller = await services.businesses.authenticate(credentials.credentials, services.now())
    if caller is None:
        detail = "Send a valid token: Authorization: Bearer <token>."
        raise HTTPException(401, detail, headers={"WWW-Authenticate": "Bearer"})
    return caller


Caller = Annotated[businesses.Caller, Depends(require_token)]


async def read_page(
    page: Annotated[int, Query(ge=0, description="counted from 0")] = 0,
    page_size: Annotated[int, Query(alias="pageSize", ge=1, description="50 at most")] = 20,
) -> Page:
    return Page(page=min(page, _FARTHEST_PAGE), page_size=min(page_size, MAX_PAGE_SIZE))


Paging = Annotated[Page, Depends(read_page)]


async def read_jid(jid: Annotated[str, Path(description="as /chats gives it", max_length=100)]) -> str:
    """A person's JID, spelled as the store knows it. Raises NotFound: nobody else has a chat."""
    try:
        return str(parse_recipient(jid))
    except InvalidRecipient:
        raise NotFound("chat", jid) from None


KnownJid = Annotated[str, Depends(read_jid)]


async def read_new_jid(jid: Annotated[str, Path(description="as /chats gives it, or a number", max_length=100)]) -> str:
    """The same for a chat that need not exist yet. Raises Invalid."""
    try:
        return str(find_jid(jid))
    except InvalidRecipient as error:
        raise Invalid(f"jid: {error.detail}", (("jid", error.detail),)) from None


NewJid = Annotated[str, Depends(read_new_jid)]


async def read_send_id(send_id: Annotated[str, Path(alias="id", max_length=100)]) -> str:
    return _check_id("send", send_id)


async def read_reminder_id(reminder_id: Annotated[str, Path(alias="id", max_length=100)]) -> str:
    return _check_id("reminder", reminder_id)


async def read_conversation_id(conversation_id: Annotated[str, Path(alias="id", max_length=100)]) -> str:
    return _check_id("conversation", conversation_id)


async def read_one_chat(
    jid: Annotated[str | None, Query(max_length=100, description="of one chat")] = None,
) -> str | None:
    """Raises Invalid for what is no person's JID."""
    try:
        return None if jid is None else str(parse_recipient(jid))
    except InvalidRecipient as error:
        raise Invalid(f"jid: {error.detail}", (("jid", error.detail),)) from None


OneChat = Annotated[str | None, Depends(read_one_chat)]


def _check_id(thing: str, id: str) -> str:
    """Raises NotFound for what cannot be an id."""
    if not _ID.fullmatch(id):
        raise NotFound(thing, id)
    return id


SendId = Annotated[str, Depends(read_send_id)]
ReminderId = Annotated[str, Depends(read_reminder_id)]
ConversationId = Annotated[str, Depends(read_conversation_id)]
