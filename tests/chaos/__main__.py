"""`python -m tests.chaos --seed 7 --messages 10000 --kills 100`: a stack of its own. Exit code 1: failed.

With `--chats` the messages are customers', whom the bot answers by a slow language model. With `--links 20`, real link
processes of so many WhatsApp numbers on the played network, one of which is killed each second.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from tests.acceptance.stack import Stack
from tests.chaos.chats.model import slow_model
from tests.chaos.chats.plan import make_chat_plan
from tests.chaos.chats.report import ChatReport
from tests.chaos.chats.run import run_chats
from tests.chaos.links.plan import LinksPlan, make_links_plan
from tests.chaos.links.report import LinksReport
from tests.chaos.plan import Size, make_plan
from tests.chaos.report import Report
from tests.chaos.run import SETTINGS, run_chaos


def main() -> int:
    options = _read_options()
    settings = SETTINGS | ({"DATABASE_URL": options.database_url} if options.database_url else {})
    if options.links:
        return _run_links(settings, make_links_plan(options.seed, links=options.links, kills=options.kills))
    size = Size(messages=options.messages, kills=options.kills)
    if not options.chats:
        plan = make_plan(options.seed, size, forgetful=options.forgetful)
        return _run(settings, lambda stack: run_chaos(stack, plan, _say))
    chats = make_chat_plan(options.seed, size)
    with slow_model(options.seed) as model:
        return _run(settings | model.settings, lambda stack: run_chats(stack, chats, model, _say))


def _run_links(settings: dict[str, str], plan: LinksPlan) -> int:
    """Imports late: the library takes half a second, and logs everything."""
    from tests.chaos.links.run import run_links
    from tests.whatsapp.network import FakeNetwork
    from tests.whatsapp.remote import played_links

    logging.getLogger().setLevel(logging.WARNING)
    networks: dict[str, FakeNetwork] = {}
    with played_links(networks) as variables, patch.dict(os.environ, variables):
        return _run(settings, lambda stack: run_links(stack, plan, networks, _say))


def _run(settings: dict[str, str], run: Callable[[Stack], Report | ChatReport | LinksReport]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="boton-chaos-"))
    stack = Stack(folder, **settings)
    passed = False
    try:
        stack.start()
        report = run(stack)
        print(report)
        passed = report.passed
    finally:
        stack.clean_up()
        _clear_away(folder, passed=passed)
    return 0 if passed else 1


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="default: another one each time")
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=100)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--forgetful", action="store_true", help="the network cannot say what became of an attempt")
    kind.add_argument(
        "--chats", action="store_true", help="customers write, blows fall while the bot thinks and replies"
    )
    kind.add_argument("--links", type=int, help="so many WhatsApp numbers, each sending and receiving all the time")
    parser.add_argument("--database-url", help="an empty PostgreSQL database; default: SQLite")
    return parser.parse_args()


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _clear_away(folder: Path, *, passed: bool) -> None:
    if passed:
        shutil.rmtree(folder)
        return
    print(f"\nKept: {folder}. To look into it: cd {folder} && BOTON_DATA_DIR=data boton up, then the Temporal UI,")
    print("`boton find <phone>`, and in data/boton.db: SELECT * FROM message WHERE text LIKE '%<code>%'.")


if __name__ == "__main__":
    sys.exit(main())
