"""The runner: one JSON object a line on stdout, everything else on stderr.

python -m bench.dialogues                          all of them, against the model of the settings (BOTON_LLM_…)
python -m bench.dialogues --only angry-customer --show
python -m bench.dialogues --scripted               against the answers in the scenarios, without a model
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Sequence

from bench.dialogues.loading import BadScenario, choose, load_all
from bench.dialogues.models import ScriptedModel, do_not_sleep
from bench.dialogues.playing import Played, play
from bench.dialogues.scenario import Scenario
from bench.dialogues.scores import Score, score, to_table, to_total
from bench.dialogues.stage import open_store
from bench.dialogues.transcript import to_text
from bench.progress import BenchFailed, say
from boton.errors import Invalid
from boton.llm.factory import open_model
from boton.ports import LanguageModel
from boton.settings import Settings, read_settings
from boton.store.engine import Database


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a scenario could not be run, with --strict also when a check failed; 2 when nothing was
    played, 130 when it was interrupted.
    """
    asked = _parse(arguments)
    try:
        scenarios, settings = choose(load_all(), asked.only), read_settings()
        if asked.list:
            print("\n".join(f"{scenario.name:32} {scenario.about}" for scenario in scenarios))
            return 0
        return asyncio.run(_run(scenarios, settings, asked))
    except (BadScenario, Invalid) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dialogues", description="Scripted customers, scored.")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a scenario; may be repeated")
    parser.add_argument("--show", action="store_true", help="the dialogues' text, which holds what the model wrote")
    parser.add_argument("--strict", action="store_true", help="exit code 1 when a check failed")
    parser.add_argument("--scripted", action="store_true", help="the answers in the scenarios in place of a model")
    parser.add_argument("--list", action="store_true", help="the scenarios' names")
    return parser.parse_args(arguments)


async def _run(scenarios: Sequence[Scenario], settings: Settings, asked: argparse.Namespace) -> int:
    model = _open_model(settings)
    say(f"{len(scenarios)} scenarios against {'their scripts' if asked.scripted else _describe(settings)}")
    scores: list[Score] = []
    try:
        async with open_store() as database:
            for scenario in scenarios:
                played = await _play(scenario, None if asked.scripted else model, database, settings.llm_context_tokens)
                scores += [_tell(played, asked.show)] if played is not None else []
    finally:
        await model.close()
        print(to_table(scores), file=sys.stderr)
    print(to_total(scores))
    failed = asked.strict and any(one.failed for one in scores)
    return 1 if failed or len(scores) < len(scenarios) else 0


def _open_model(settings: Settings) -> LanguageModel:
    key = settings.llm_api_key
    return open_model(settings.llm_base_url, key.get_secret_value() if key else None, settings.llm_model)


async def _play(scenario: Scenario, model: LanguageModel | None, database: Database, budget: int) -> Played | None:
    """None: it could not be run. Without a model: by the scenario's script."""
    try:
        if model is None:
            return await play(scenario, ScriptedModel(scenario.model), database, budget=budget, sleep=do_not_sleep)
        return await play(scenario, model, database, budget=budget)
    except BenchFailed as failure:
        say(f"{scenario.name} could not be run: {failure}")
    except Exception:  # noqa: BLE001 - the other scenarios are worth playing
        say(f"{scenario.name} could not be run: {traceback.format_exc()}")
    return None


def _tell(played: Played, show: bool) -> Score:
    result = score(played)
    say(f"{result.name}: {result.passed} of {len(result.verdicts)} checks")
    if show:
        print(to_text(list(played.entries)), file=sys.stderr)
    for verdict in result.verdicts if show else result.failed:
        print(f"    {verdict}", file=sys.stderr)
    print(result.to_json(), flush=True)
    return result


def _describe(settings: Settings) -> str:
    if not settings.llm_base_url and settings.llm_api_key is None:
        return "the offline assistant (no BOTON_LLM_… is set)"
    return f"{settings.llm_model or 'the default model'} at {settings.llm_base_url or 'OpenAI'}"


if __name__ == "__main__":
    sys.exit(main())
