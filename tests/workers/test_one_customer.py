"""A customer whom WhatsApp tells under a LID first and under a number later: one chat, through a link process, a worker
and the API.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from temporalio.worker import Worker

from api.composition import build_services
from api.main import create_app
from boton import names
from boton.clock import utc_now
from boton.settings import Settings
from boton.store.tokens import SqlTokenStore
from boton.telemetry import Metrics
from boton.temporal import sandbox_runner
from tests.waiting import eventually
from tests.whatsapp import events
from tests.workers.conftest import World
from tests.workers.test_played_numbers import Played, held, is_up, networks, numbers  # noqa: F401
from workflows.send import SendWorkflow
