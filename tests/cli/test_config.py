"""`hermes-editor config`: values with their origins, and no secret in sight."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from hermes_acp.cli import config

Captured = pytest.CaptureFixture[str]
SECRET = "sk-0123456789abcdef"


def run(env: dict[str, str], *words: str) -> int:
    parser = argparse.ArgumentParser()
    config.register(parser.add_subparsers())
    return config.run(parser.parse_args(["config", *words]), env)


def test_every_setting_says_where_it_comes_from_and_keys_are_masked(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(
        'mode = "plan"\nmodels = ["a/b", "c/d"]\nmax_steps = 5\n'
        f'[keys]\nMY_KEY = "{SECRET}"\nXAI_API_KEY = "short"\n'
    )
    env = {
        "HERMES_EDITOR_HOME": str(tmp_path),
        "HERMES_EDITOR_MAX_STEPS": "7",
        "HERMES_EDITOR_MODEL_BASE_URL": "http://me:hidden@host/v1?token=hidden",
        "OPENAI_API_KEY": SECRET,
    }
    assert run(env, "--json") == 0
    shown = capsys.readouterr().out
    assert SECRET not in shown
    assert "hidden" not in shown
    told = json.loads(shown)
    values = {item["name"]: (item["value"], item["origin"]) for item in told["settings"]}
    assert values["mode"] == ("plan", "config.toml")
    assert values["models"] == ("a/b, c/d", "config.toml")
    assert values["max_steps"] == ("7", "environment")
    assert values["model_base_url"] == ("http://host/v1", "environment")
    assert values["effort"] == ("default", "default")
    assert values["allow_real_models"] == ("true", "default")
    assert told["keys"] == [
        {"name": "MY_KEY", "value": "…cdef", "origin": "config.toml"},
        {"name": "XAI_API_KEY", "value": "…", "origin": "config.toml"},
        {"name": "OPENAI_API_KEY", "value": "…cdef", "origin": "environment"},
    ]
    assert told["folders"]["data"] == str(tmp_path / "data")
    assert run(env) == 0
    shown = capsys.readouterr().out
    assert "max_steps          7               environment\n" in shown
    assert SECRET not in shown
