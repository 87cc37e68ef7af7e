"""Scenarios' files: what is wrong with one is told so that whoever wrote it can put it right."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.dialogues.__main__ import main
from bench.dialogues.loading import FOLDER, BadScenario, load_all, load_scenario

GOOD = (FOLDER / "opt-out.yaml").read_text(encoding="utf-8")


def load(folder: Path, text: str, name: str = "opt-out.yaml") -> None:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    load_scenario(file)


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("- say: BAJA", "- say: No", "customer.script.1.say.1: "),
        ("- say: BAJA", "- when: {ended: true}", "customer.script.1: a turn needs something to do: say, wait or human"),
        ("- say: BAJA", "- wait: long", "customer.script.1.wait: should be a time such as 30m, 24h or 3d"),
        ("- optedOut: true", "- optedout: true", "checks.1.optedout: Extra inputs are not permitted"),
        ("- optedOut: true", "- atTurn: 2", "checks.1: should name one thing to check, of: outcome, mustCall"),
        ('says: "promocional"', 'says: "(promo"', "checks.2.says: is no pattern: missing )"),
        ("purpose: sell", "purpose: selling", "business.purpose: should be 'attend'"),
        ("about: A customer", "about: 1 #", "about: should be a valid string (put it in quotes)"),
        ("language: es\n", "", "language: Field required"),
        ("name: opt-out", "name: optout", "name: should be opt-out, as the file's is"),
        ("customer:", "customer: [", "is no YAML"),
    ],
)
def test_mistake_is_told_with_its_place(tmp_path: Path, good: str, bad: str, told: str) -> None:
    assert good in GOOD
    with pytest.raises(BadScenario) as raised:
        load(tmp_path, GOOD.replace(good, bad, 1))
    assert told in str(raised.value)
    assert str(raised.value).startswith("opt-out.yaml: ")


def test_every_scenario_says_what_it_is_about() -> None:
    assert [scenario.name for scenario in load_all() if len(scenario.about) < 20] == []


def test_runner_lists_the_scenarios(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [one.name for one in load_all()]


def test_unknown_scenario_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "everything"]) == 2
    assert "everything" in capsys.readouterr().err


def test_failed_check_is_no_failure_unless_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # a developer's .env names a model
    for name in ("BOTON_LLM_BASE_URL", "BOTON_LLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    asked = ["--only", "several-questions-in-a-burst"]
    assert (main(asked), main([*asked, "--strict"]), main([*asked, "--strict", "--scripted"])) == (0, 1, 0)
    told = capsys.readouterr()
    assert [line.split('"')[3] for line in told.out.splitlines()] == ["several-questions-in-a-burst", "dialogues"] * 3
    assert "Hi Tom!" not in told.out
