"""Chats and their messages."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.bodies import json_body
from api.deps import Caller, Deps, KnownJid, NewJid, Paging
from api.docs import BODY_ERRORS, ERRORS, V1, body_of
from api.schemas.chats import MAX_MESSAGES, ChatDetail, ChatList, ChatPatch, MessageList, MessageOut
from boton.errors import Invalid

router = APIRouter(prefix=V1, tags=["Chats"], responses=ERRORS)

MessageId = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="a message id")]


@router.get("/chats", summary="Chats, the one with the newest activity first")
async def list_chats(caller: Caller, services: Deps, page: Paging) -> ChatList:
    chats, total = await services.chats.list_chats(caller.business_id, page)
    return ChatList.of(chats, total, page)


@router.get("/chats/{jid}", summary="One chat")
async def get_chat(caller: Caller, services: Deps, jid: KnownJid) -> ChatDetail:
    return ChatDetail.at(await services.chats.fetch_chat(caller.business_id, jid), services.now())


@router.patch(
    "/chats/{jid}",
    summary="Change one chat; one that does not exist yet is created",
    openapi_extra=body_of(ChatPatch),
    responses=BODY_ERRORS,
)
async def change_chat(
    caller: Caller, services: Deps, jid: NewJid, body: Annotated[ChatPatch, Depends(json_body(ChatPatch))]
) -> ChatDetail:
    now = services.now()
    chat = await services.chats.change_chat(caller.business_id, jid, body.to_change(), now)
    return ChatDetail.at(chat, now)


@router.get("/chats/{jid}/messages", summary="Messages of one chat, oldest first")
async def list_messages(
    caller: Caller,
    services: Deps,
    jid: KnownJid,
    limit: Annotated[int, Query(ge=1, description="200 at most")] = 50,
    before: MessageId = None,
    after: MessageId = None,
) -> MessageList:
    if before is not None and after is not None:
        raise Invalid("Give before or after, not both.", (("after", "not together with before"),))
    limit = min(limit, MAX_MESSAGES)
    known_jid, messages, more = await services.chats.list_messages(
        caller.business_id, jid, limit=limit, before=before, after=after
    )
    return MessageList(
        jid=known_jid, messages=[MessageOut.of(message) for message in messages], limit=limit, has_more=more
    )
