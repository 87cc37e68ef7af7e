"""Which model the settings lead to."""

from __future__ import annotations

import subprocess
import sys

import pytest

from boton.errors import Invalid
from boton.llm.factory import DEFAULT_MODEL, open_model
from boton.llm.offline import OfflineAssistant
from boton.llm.openai_model import OpenAIModel
from tests.llm.briefs import customer, prompt
from tests.llm.server import model_server


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_settings_the_offline_assistant_speaks(nothing: str | None) -> None:
    assert isinstance(open_model(nothing, nothing, nothing), OfflineAssistant)


async def test_a_server_of_ones_own_needs_no_key() -> None:
    with model_server() as server:
        model = open_model(server.url, None, "llama")
        await model.answer(prompt(customer("hola")))
        await model.close()
        assert server.requests[0]["model"] == "llama"
        assert server.keys == ["Bearer none"]


async def test_a_key_alone_is_openai_with_its_default_model() -> None:
    model = open_model(None, "sk-test", None)
    assert isinstance(model, OpenAIModel)
    assert model.model == DEFAULT_MODEL
    await model.close()


@pytest.mark.parametrize("url", ["localhost:11434", "ftp://x/v1", "http://", "http://[", "gpt"])
def test_what_is_no_address_is_said_at_once(url: str) -> None:
    with pytest.raises(Invalid, match="BOTON_LLM_BASE_URL is no address"):
        open_model(url, None, "llama")


def test_a_server_without_a_model_name_is_said_at_once() -> None:
    with pytest.raises(Invalid, match="BOTON_LLM_MODEL"):
        open_model("http://127.0.0.1:1/v1", "key", None)


def test_offline_loads_no_client_library() -> None:
    code = (
        "import sys; from boton.llm.factory import open_model; open_model(None, None, None);"
        "print('openai' in sys.modules or 'httpx2' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"
