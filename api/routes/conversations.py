"""Instruction-led dialogues: how they stand, how they ended."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from api.deps import Caller, ConversationId, Deps, OneChat, Paging, Starting
from api.docs import CONFLICT, ERRORS, V1
from api.schemas.conversations import ConversationList, ConversationOut
from boton.domain.conversations import ConversationStatus

router = APIRouter(prefix=V1, tags=["Conversations"], responses=ERRORS)


@router.get("/conversations", summary="Conversations, newest first")
async def list_conversations(
    caller: Caller,
    services: Deps,
    page: Paging,
    jid: OneChat,
    status: Annotated[ConversationStatus | None, Query(description="only those that are so")] = None,
) -> ConversationList:
    found, total = await services.conversations.list_conversations(caller.business_id, page, status=status, jid=jid)
    return ConversationList.of(found, total, page)


@router.get("/conversations/{id}", summary="One conversation with its outcome")
async def get_conversation(caller: Caller, services: Deps, conversation_id: ConversationId) -> ConversationOut:
    return ConversationOut.of(await services.conversations.fetch_conversation(caller.business_id, conversation_id))


@router.post("/conversations/{id}/cancel", summary="End it: what has not left is not sent", responses=CONFLICT)
async def cancel_conversation(
    caller: Caller, services: Deps, launcher: Starting, conversation_id: ConversationId
) -> ConversationOut:
    now = services.now()
    cancelled = await services.conversations.cancel_conversation(caller.business_id, conversation_id, now)
    launcher.look_at_chat(cancelled.chat_id, caller.business_id)
    return ConversationOut.of(cancelled.conversation)
