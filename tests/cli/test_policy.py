"""`hermes-editor policy` on a real database, project and home."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pytest

from hermes_acp.cli.policy import command, verdicts
from hermes_acp.config import ConfigError, paths
from hermes_acp.policy.rules.rules import Origin, Rule
from hermes_acp.storage.database import Database
from hermes_acp.storage.rules import Rules

AT = datetime(2026, 1, 2, 3, 4).timestamp()
Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Place:
    project: str
    env: dict[str, str]

    def run(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        command.register(parser.add_subparsers())
        args = parser.parse_args(["policy", *words])
        return args.run(args, self.env)

    def rules(self) -> list[Rule]:
        return [
            Rule(
                "r1",
                "allow",
                "execute",
                "pytest -q",
                self.project,
                "project",
                AT,
                Origin(self.project, "s1", "Zed", "x"),
            ),
            Rule(
                "r2", "allow", "write", "", "", "session", AT + 60, Origin(self.project, "s1", "\x1b[0m", "x")
            ),
            Rule("r3", "deny", "execute", "rm x", "/q", "project", AT + 120, Origin("/q", "s2", "", "x")),
        ]

    def keep(self, rules: Sequence[Rule]) -> None:
        asyncio.run(self._keep(paths(self.env).database, rules))

    async def _keep(self, file: Path, rules: Sequence[Rule]) -> None:
        database = await Database.open(file)
        for rule in rules:
            await Rules(database).add(rule)
        await database.close()


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    (tmp_path / "project").mkdir()
    return Place(str((tmp_path / "project").resolve()), {"HERMES_EDITOR_HOME": str(tmp_path / "home")})


@pytest.fixture
def place(empty: Place) -> Place:
    empty.keep(empty.rules())
    return empty


@pytest.mark.parametrize("words", [(), ("list",)])
def test_the_rules_of_this_project_are_a_table(
    place: Place, words: tuple[str, ...], capsys: Captured
) -> None:
    assert place.run(*words, "--cwd", place.project) == 0
    cut = f"{place.project[:29]}…{place.project[-30:]}" if len(place.project) > 60 else place.project
    assert capsys.readouterr().out == (
        "ID  WHEN              WHO   HOLDS IN      RULE\n"
        f"r1  2026-01-02 03:04  Zed   this project  allow `pytest -q` in {cut}\n"
        "r2  2026-01-02 03:05  \ufffd[0m  session s1    allow edits\n"
    )


def test_all_rules_name_their_projects(place: Place, capsys: Captured) -> None:
    assert place.run("--all", "--cwd", place.project) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == [
        *("r3", "2026-01-02", "03:06", "-", "/q", "deny", "`rm", "x`")
    ]


def test_json_has_everything(place: Place, capsys: Captured) -> None:
    assert place.run("--json", "list", "--all") == 0
    assert json.loads(capsys.readouterr().out) == [asdict(rule) for rule in place.rules()]


def test_looking_into_an_empty_home_creates_nothing(empty: Place, capsys: Captured) -> None:
    assert empty.run("--cwd", empty.project) == 0
    assert capsys.readouterr().out.startswith("There are no rules")
    assert empty.run("revoke", "r1") == 1
    assert empty.run("explain", "ls") == 0
    assert not Path(empty.env["HERMES_EDITOR_HOME"]).exists()


def test_a_revoked_rule_is_gone_and_an_unknown_one_is_an_error(place: Place, capsys: Captured) -> None:
    assert place.run("revoke", "r1") == 0
    assert place.run("revoke", "r1", "--json") == 1
    captured = capsys.readouterr()
    assert captured.out == "Revoked r1.\n"
    assert captured.err == "There is no rule 'r1': `hermes-editor policy list --all` shows them.\n"
    assert place.run("list", "--json", "--all") == 0
    assert [rule["rule_id"] for rule in json.loads(capsys.readouterr().out)] == ["r2", "r3"]


def test_a_command_is_explained_with_the_rules_of_the_project(place: Place, capsys: Captured) -> None:
    assert place.run("explain", "pytest -q", "--cwd", place.project) == 0
    assert capsys.readouterr().out == (
        "allow (mode ask): The rule r1 allows `pytest -q`.\n"
        "  `pytest -q`: ask; `pytest` runs code of the project\n"
        "    executes\n"
    )
    assert place.run("explain", "pytest -q; rm x", "--cwd", place.project, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "command": "pytest -q; rm x",
        "cwd": place.project,
        "mode": "ask",
        "verdict": "ask",
        "reason": "Runs `pytest`, `rm`; deletes `x`; `pytest` runs code of the project.",
        "effects": [{"kind": "deletes", "targets": ["x"]}, {"kind": "executes", "targets": []}],
        "parts": [
            {
                "command": "pytest -q",
                "verdict": "ask",
                "reason": "`pytest` runs code of the project",
                "effects": [{"kind": "executes", "targets": []}],
                "rule": None,
            },
            {
                "command": "rm x",
                "verdict": "ask",
                "reason": "",
                "effects": [{"kind": "deletes", "targets": ["x"]}],
                "rule": None,
            },
        ],
        "choices": [
            "Allow once",
            "Allow `pytest -q; rm x` for this session",
            "Always allow `pytest -q; rm x` in this project",
            "Reject",
            "Never allow `pytest -q; rm x` in this project",
        ],
    }


def test_many_commands_are_tested_in_their_order_without_rules(
    place: Place, capsys: Captured, tmp_path: Path
) -> None:
    lines = [
        {"id": 1, "command": "pytest -q", "cwd": place.project},
        {"id": "two", "command": "ls", "cwd": "/no/such/folder"},
        {"command": "cat x"},
        {"id": 4, "command": "rm -rf /", "cwd": "/"},
    ]
    file = tmp_path / "commands.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert place.run("test", "--jsonl", str(file), "--cwd", place.project) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["id"], answer["verdict"]) for answer in answers] == [
        *((1, "ask"), ("two", "allow"), (None, "allow"), (4, "deny"))
    ]
    assert answers[2]["effects"] == [{"kind": "reads", "targets": ["x"]}]
    assert answers[0]["reason"] == "Runs `pytest`; `pytest` runs code of the project."


def test_bad_lines_are_answered_and_the_others_are_still_tested(
    place: Place, capsys: Captured, tmp_path: Path
) -> None:
    file = tmp_path / "commands.jsonl"
    deep = b"[" * 100_000
    long = b'"' + b"x" * verdicts.LINE_BYTES + b'"'
    bad = [b"no json", b"[]", b'{"id": 3}', b'{"id": 4, "command": 5}', b"\xff", deep, long]
    odd = [b'{"id": 8, "command": "ls", "cwd": "\\ud800"}', b'{"id": 9, "command": "ls", "cwd": "\\u0000"}']
    file.write_bytes(b"\n".join([*bad, *odd, b'{"id": 10, "command": "ls"}']))
    assert place.run("test", "--jsonl", str(file)) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == [None, None, 3, 4, None, None, None, 8, 9, 10]
    assert ["error" in answer for answer in answers] == [True] * 9 + [False]
    assert place.run("test", "--jsonl", str(tmp_path / "missing")) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_a_damaged_database_and_a_wrong_setting_are_sentences(place: Place, capsys: Captured) -> None:
    place.env["HERMES_EDITOR_MODE"] = "yolo"
    with pytest.raises(ConfigError, match="The setting 'mode'"):
        place.run("explain", "ls")
    file = paths(place.env).database
    for part in file.parent.glob("*-*"):
        part.unlink()
    file.write_bytes(b"no database at all" * 1000)
    assert place.run("list") == 1
    assert "is damaged" in capsys.readouterr().err


def test_a_rule_that_was_added_decides_and_can_be_promoted_and_revoked(
    place: Place, capsys: Captured
) -> None:
    here = ("--cwd", place.project)
    assert place.run("add", "allow", "--command", "cargo  test", *here, "--json") == 0
    (added,) = json.loads(capsys.readouterr().out)
    assert (added["match"], added["form"], added["scope"]) == ("cargo test", "pattern", "project")
    assert place.run("explain", "cargo test -q && ls", *here, "--json") == 0
    explained = json.loads(capsys.readouterr().out)
    assert explained["verdict"] == "allow"
    assert [part["rule"] for part in explained["parts"]] == [added["rule_id"], None]
    assert place.run("promote", added["rule_id"]) == 0
    assert place.run("list", "--cwd", "/") == 0
    assert "all projects  allow `cargo test …`" in capsys.readouterr().out
    assert place.run("revoke", added["rule_id"], "r1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"revoked": [added["rule_id"], "r1"]}


def test_rules_are_revoked_by_session_and_all_at_once(place: Place, capsys: Captured) -> None:
    assert place.run("revoke") == 1
    assert place.run("revoke", "--session", "s1") == 0
    assert place.run("revoke", "--all") == 0
    captured = capsys.readouterr()
    assert captured.out == "Revoked r2.\n2 rules are taken back.\n"
    assert captured.err == "Name the rules to take back, or give --all or --session.\n"


def test_a_path_is_added_for_reading_and_writing_and_a_wrong_text_is_not(
    place: Place, capsys: Captured
) -> None:
    assert place.run("add", "deny", "--path", "secret/**", "--everywhere") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in out] == [
        "deny reading `secret/**`, all projects.",
        "deny edits of `secret/**`, all projects.",
    ]
    assert place.run("add", "allow", "--command", "a; b") == 2
    assert "has to be the first plain words" in capsys.readouterr().err


def test_rules_in_files_are_listed_and_wrong_ones_are_complained_about(
    place: Place, capsys: Captured
) -> None:
    folder = Path(place.project, ".hermes")
    folder.mkdir()
    (folder / "config.toml").write_text(
        '[[rules]]\ndecision = "deny"\nhost = "evil.org"\n[[rules]]\ndecision = "allow"\nhost = "x.org"\n'
    )
    assert place.run("list", "--cwd", place.project) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1].split() == (
        ["rule", "1", "-", "config.toml", "this", "project", "deny", "connections", "to", "`evil.org`"]
    )
    assert "rule 2: a project may only ask and deny. It allows nothing." in captured.err
    assert place.run("explain", "curl https://evil.org", "--cwd", place.project, "--mode", "full") == 0
    assert capsys.readouterr().out.startswith("deny (mode full): A rule in ")


def test_many_commands_are_tested_with_rules_and_in_modes_where_they_are_wanted(
    place: Place, capsys: Captured, tmp_path: Path
) -> None:
    file = tmp_path / "commands.jsonl"
    file.write_text(json.dumps({"id": 1, "command": "pytest -q"}))
    modes = ((("--mode", "plan"), "deny"), (("--mode", "full"), "allow"))
    for words, verdict in (((), "ask"), (("--rules",), "allow"), *modes):
        assert place.run("test", "--jsonl", str(file), "--cwd", place.project, *words) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == verdict
