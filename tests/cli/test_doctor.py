"""`hermes-editor doctor`: findings, advice and the exit code."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from hermes_acp.cli import doctor

Captured = pytest.CaptureFixture[str]


def examine(home: Path, capsys: Captured, **more: str) -> tuple[int, dict[str, tuple[str, str]]]:
    parser = argparse.ArgumentParser()
    doctor.register(parser.add_subparsers())
    env = {
        "HERMES_EDITOR_HOME": str(home),
        "HOME": str(home),
        "PATH": os.defpath,
        "HERMES_EDITOR_MODEL": "scripted/x",
        **more,
    }
    code = doctor.run(parser.parse_args(["doctor", "--json"]), env)
    findings = json.loads(capsys.readouterr().out)
    return code, {item["what"]: (item["state"], item["detail"]) for item in findings}


def test_a_working_place_is_fine_and_looking_leaves_nothing_behind(tmp_path: Path, capsys: Captured) -> None:
    code, findings = examine(tmp_path, capsys)
    assert code == 0
    assert {what for what, (state, _) in findings.items() if state == "bad"} == set()
    assert findings["model"] == ("ok", "scripted/x (HERMES_EDITOR_MODEL names it)")
    assert findings["database"][1].endswith("(not there yet: the first session makes it)")
    assert findings["git"][1].startswith("git version ")
    assert list(tmp_path.iterdir()) == []


def test_without_git_nothing_can_work(tmp_path: Path, capsys: Captured) -> None:
    code, findings = examine(tmp_path, capsys, PATH=str(tmp_path))
    assert (code, findings["git"]) == (1, ("bad", "not found: install it"))
    assert findings["rg"][0] == "note"


def test_a_program_that_does_not_run_counts_as_missing(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "git").chmod(0o755)
    code, findings = examine(tmp_path, capsys, PATH=f"{tmp_path}:/usr/bin:/bin")
    assert (code, findings["git"][0]) == (1, "bad")
    assert "does not work" in findings["git"][1]


def test_wrong_settings_a_damaged_database_and_a_blocked_folder_are_named(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text("mode = 'fast'\n")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sessions.db").write_bytes(b"no database" * 1000)
    (tmp_path / "state").write_text("a file where a folder should be")
    code, findings = examine(tmp_path, capsys)
    assert code == 1
    assert {what for what, (state, _) in findings.items() if state == "bad"} == {
        "settings",
        "database",
        "state",
    }
    assert "'mode'" in findings["settings"][1]
    assert "is damaged" in findings["database"][1]


def test_keys_that_others_can_read_are_mentioned(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "config.toml"
    file.write_text('[keys]\nX_API_KEY = "x"\n')
    file.chmod(0o644)
    assert examine(tmp_path, capsys)[1]["keys"] == ("note", f"others can read {file}: chmod 600 it")
    file.chmod(0o600)
    assert "keys" not in examine(tmp_path, capsys)[1]


def test_a_memory_service_is_named_with_what_it_is_told_and_where_that_goes(
    tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "config").mkdir()
    urls = {
        "near": "http://127.0.0.1:8888",
        "far": "https://memory.example.org",
        "bare": "http://memory.example.org",
    }
    tables = [
        f'[[memory_services]]\nkind = "hindsight"\nname = "{name}"\nurl = "{url}"\n'
        for name, url in urls.items()
    ]
    (tmp_path / "config" / "config.toml").write_text("".join(tables))
    code, findings = examine(tmp_path, capsys)
    assert code == 0
    assert {name: findings[f"memory {name}"] for name in urls} == {
        "near": ("ok", "http://127.0.0.1:8888: on this machine, is told what you and the agent say"),
        "far": (
            "note",
            "https://memory.example.org: what you and the agent say leaves this machine, without secrets",
        ),
        "bare": (
            "note",
            "http://memory.example.org: what you and the agent say leaves this machine unencrypted, "
            "without secrets",
        ),
    }
    findings = examine(tmp_path, capsys, HERMES_EDITOR_ALLOW_REAL_MODELS="0")[1]
    assert findings["memory near"][0] == "ok"
    assert "services elsewhere are switched off together with real models" in findings["memory far"][1]
