"""What someone does in a browser: logs in, and sends the forms of a page."""

from __future__ import annotations

import re

import httpx

from tests.api.conftest import PASSWORD


async def log_in(browser: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await browser.post("/dashboard/login", data={"password": password})


def find(pattern: str, page: str) -> str:
    found = re.search(pattern, page)
    assert found, pattern
    return found[1]


def form_token(page: str) -> str:
    return find(r'name="form_token" value="([^"]+)"', page)
