"""The chats of one business: who holds each, and what the operator can do about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from starlette.responses import RedirectResponse, Response

from api.dashboard.forms import Form, LoggedIn, SignedForm
from api.dashboard.rendering import render_page
from api.deps import Deps, Paging
from api.schemas.base import to_paging
from api.services import Services
from boton.domain.chats import Chat, ChatChange, Holder
from boton.domain.conversations import Conversation
from boton.names import chat_workflow

router = APIRouter(prefix="/dashboard/chats", include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatLine:
    """What the page shows of one chat. until: of a takeover that goes on; workflow: its page in the Temporal UI."""

    chat: Chat
    holder: Holder
    until: datetime | None
    conversation: Conversation | None
    workflow: str | None


@router.get("")
async def show_chats(session: LoggedIn, services: Deps, page: Paging, business: str = "") -> Response:
    ours = await services.businesses.fetch_business(business)
    chats, total = await services.chats.list_chats(ours.id, page)
    lines = await asyncio.gather(*(_fetch_line(services, chat) for chat in chats))
    return await render_page(
        services, session, "chats.html", business=ours, lines=lines, paging=to_paging(page, total), jid=None
    )


async def _fetch_line(services: Services, chat: Chat) -> ChatLine:
    holder, id = chat.held_by(services.now()), chat.conversation_id
    return ChatLine(
        chat=chat,
        holder=holder,
        until=chat.takeover_until if holder is Holder.HUMAN and chat.handed_off_at is None else None,
        conversation=await services.conversations.fetch_conversation(chat.business_id, id) if id else None,
        workflow=services.links.find_workflow_page(chat_workflow(chat.id)),
    )


async def find_chosen(form: Form, services: Deps) -> Chat:
    """The chat that a form names. Raises NotFound."""
    return await services.chats.fetch_chat(form.fields.get("business", ""), form.fields.get("jid", ""))


Chosen = Annotated[Chat, Depends(find_chosen)]


@router.post("/hand-back")
async def hand_back(form: Form, chat: Chosen, services: Deps) -> Response:
    """The bot attends the chat, whoever held it and whether it was on."""
    await services.chats.change_chat(chat.business_id, chat.jid, ChatChange(bot_enabled=True), services.now())
    return _show_again(form, chat)


@router.post("/switch-off")
async def switch_off(form: Form, chat: Chosen, services: Deps) -> Response:
    await services.chats.change_chat(chat.business_id, chat.jid, ChatChange(bot_enabled=False), services.now())
    return _show_again(form, chat)


@router.post("/take-over")
async def take_over(form: Form, chat: Chosen, services: Deps) -> Response:
    await services.chats.take_over(chat.business_id, chat.jid, services.now())
    if chat.held_by(services.now()) is not Holder.HUMAN:
        services.metrics.count_takeovers(1)
    return _show_again(form, chat)


def _show_again(form: SignedForm, chat: Chat) -> Response:
    """The same page, at the same chat."""
    query = urlencode({"business": chat.business_id, "page": form.fields.get("page", "0")})
    return RedirectResponse(f"/dashboard/chats?{query}#{chat.id}", status_code=303)
