"""The instruction-led conversations of one business: how they stand, how they ended."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from api.dashboard.forms import LoggedIn
from api.dashboard.rendering import render_page
from api.deps import Deps, OneChat, Paging
from api.schemas.base import to_paging

router = APIRouter(prefix="/dashboard/conversations", include_in_schema=False)


@router.get("")
async def show_conversations(
    session: LoggedIn, services: Deps, page: Paging, jid: OneChat, business: str = ""
) -> Response:
    """Newest first; with `jid` those of one chat."""
    ours = await services.businesses.fetch_business(business)
    found, total = await services.conversations.list_conversations(ours.id, page, jid=jid)
    return await render_page(
        services,
        session,
        "conversations.html",
        business=ours,
        conversations=found,
        paging=to_paging(page, total),
        jid=jid,
    )
