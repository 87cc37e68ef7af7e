"""A workflow's history as somebody who searches it would read it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from temporalio.client import WorkflowHistory


def read_history(history: WorkflowHistory) -> str:
    """The exported JSON, followed by what its base64 payloads say in the clear."""
    exported = history.to_json()
    return "\n".join([exported, *_decoded(json.loads(exported))])


def _decoded(node: Any) -> Iterator[str]:
    match node:
        case dict():
            for value in node.values():
                yield from _decoded(value)
        case list():
            for value in node:
                yield from _decoded(value)
        case str():
            try:
                yield base64.b64decode(node, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                return
