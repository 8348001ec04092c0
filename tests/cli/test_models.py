"""`hermes-editor models`: what can be used, and the reason for the default."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hermes_acp.cli import models
from hermes_acp.cli.models import Default

NOWHERE = "http://127.0.0.1:1/v1"
"""Nothing listens on this port."""


class _Ollama(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"data": [{"id": "nomic-embed"}, {"id": "qwen3"}, {"id": "llama4"}]}')

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def ollama() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Ollama)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass(frozen=True)
class Home:
    path: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *words: str, **env: str) -> tuple[int, str]:
        parser = argparse.ArgumentParser()
        models.register(parser.add_subparsers())
        local = {f"{name}_API_BASE": NOWHERE for name in ("OLLAMA", "LM_STUDIO", "LLAMAFILE", "HOSTED_VLLM")}
        env = {"HERMES_EDITOR_HOME": str(self.path), **local, **env}
        code = models.run(parser.parse_args(["models", *words]), env)
        return code, self.capsys.readouterr().out

    def default(self, **env: str) -> Default:
        code, shown = self.run("--json", **env)
        default = Default(**json.loads(shown)["default"])
        assert code == (0 if default.name else 1)
        return default


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    return Home(tmp_path, capsys)


def test_the_default_comes_with_what_decided_it(home: Home, ollama: str) -> None:
    nothing = "no model is set, no provider's key is there, and no local server answers"
    assert home.default() == Default(None, nothing)
    assert home.default(OLLAMA_API_BASE=ollama) == Default(
        "ollama_chat/qwen3", f"no key is there, and {ollama} answers"
    )
    keys = {"GROQ_API_KEY": "x", "OPENAI_API_KEY": "y", "OLLAMA_API_BASE": ollama}
    assert home.default(**keys) == Default("openai/gpt-5.6", "OPENAI_API_KEY is set")
    assert home.default(HERMES_EDITOR_MODEL_BASE_URL=ollama) == Default("openai/qwen3", f"{ollama} offers it")
    assert home.default(HERMES_EDITOR_MODEL="a/b", **keys) == Default("a/b", "HERMES_EDITOR_MODEL names it")
    (home.path / "config").mkdir()
    file = home.path / "config" / "config.toml"
    file.write_text('[keys]\nXAI_API_KEY = "x"\n')
    assert home.default() == Default("xai/grok-4.7", "XAI_API_KEY in config.toml is set")
    file.write_text('model = "a/b"\n')
    assert home.default() == Default("a/b", "config.toml names it")


def test_the_table_marks_the_default_and_lists_what_can_be_used(home: Home, ollama: str) -> None:
    code, shown = home.run(
        OLLAMA_API_BASE=ollama, OPENAI_API_KEY="x", HERMES_EDITOR_MODELS="groq/a, openai/b"
    )
    assert code == 0
    assert shown.splitlines() == [
        "Default: openai/gpt-5.6 (OPENAI_API_KEY is set)",
        "",
        "   MODEL               USABLE  WHY",
        "   openai/b            yes     OPENAI_API_KEY is set",
        "*  openai/gpt-5.6      yes     OPENAI_API_KEY is set",
        f"   ollama_chat/qwen3   yes     {ollama} offers it",
        f"   ollama_chat/llama4  yes     {ollama} offers it",
    ]
    everything = home.run("--all", "--json", OLLAMA_API_BASE=ollama)[1]
    missing = models.Known("anthropic/claude-sonnet-5-5", False, "set ANTHROPIC_API_KEY")
    assert asdict(missing) in json.loads(everything)["models"]


def test_a_set_model_without_its_key_is_listed_as_not_usable(home: Home) -> None:
    code, shown = home.run(HERMES_EDITOR_MODEL="openai/gpt-5.6")
    assert code == 0
    assert shown.splitlines()[3] == "*  openai/gpt-5.6  no      set OPENAI_API_KEY"


def test_a_server_of_ones_own_needs_no_key_and_its_password_is_not_shown(home: Home) -> None:
    address = {"HERMES_EDITOR_MODEL": "openai/x", "HERMES_EDITOR_MODEL_BASE_URL": "http://me:pw@10.0.0.1/v1"}
    shown = home.run(**address)[1]
    assert shown.splitlines()[3] == "*  openai/x  yes     http://10.0.0.1/v1 needs no key"
