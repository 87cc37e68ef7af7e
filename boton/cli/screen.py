"""What the terminal shows."""

from __future__ import annotations

import json
from typing import Any


def say(line: str) -> None:
    print(line, flush=True)


def welcome(document: dict[str, Any], admin_password: str | None) -> str:
    """What to open, and one line to paste. `document` is up.json."""
    rows = [
        ("Dashboard", document["dashboard"]),
        ("API docs", f"{document['api']}/docs"),
        ("Simulator", document["simulator"]),
        ("Temporal UI", document["temporalUi"]),
        ("Metrics", document["metrics"]),
        ("Admin password", f"{admin_password}   (shown this once)" if admin_password else None),
    ]
    lines = ["", "BOTON is up.", "", *(f"  {name:<15} {value}" for name, value in rows if value), ""]
    lines += [
        "  Send a message:" if document["token"] else "  Create a token (boton token create), then:",
        "",
        curl(document),
        "",
    ]
    return "\n".join([*lines, "  Ctrl-C stops everything.", ""])


def curl(document: dict[str, Any]) -> str:
    """One line that works when it is pasted, as long as there is a token."""
    body = json.dumps({"to": "5491112345678", "message": "Hola, tu turno es mañana a las 15 hs"}, ensure_ascii=False)
    return (
        f"curl -X POST {document['api']}/api/v1/send -H 'Authorization: Bearer {document['token'] or 'YOUR_TOKEN'}' "
        f"-H 'Content-Type: application/json' -d '{body}'"
    )
