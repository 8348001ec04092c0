"""`hermes-editor project` on real repositories, records and a real database."""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pytest

from hermes_acp import config
from hermes_acp.cli.project import command as project
from hermes_acp.policy.rules.rules import Origin, Rule
from hermes_acp.storage.database import Database
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow, SessionTable
from hermes_acp.storage.trust import TrustFile
from hermes_acp.workspace import identity
from hermes_acp.workspace.project import find_project
from hermes_acp.workspace.registry import Record, Registry
from tests.cli.sessions_home import row
from tests.storage import damage

Captured = pytest.CaptureFixture[str]
AUTHOR = ("-c", "user.name=T", "-c", "user.email=t@example.org")
AT = datetime(2026, 1, 2, 3, 4).timestamp()


@dataclass(frozen=True)
class Desk:
    """A user's home and repositories."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        return {"HERMES_EDITOR_HOME": str(self.home), "PATH": os.defpath, "HOME": str(self.home)}

    @property
    def registry(self) -> Registry:
        return Registry(self.home / "data" / "projects")

    def run(self, *words: str) -> int:
        return run(self.home, *words)

    def git(self, folder: Path, *words: str) -> None:
        command = ["git", "-C", str(folder), *AUTHOR, *words]
        subprocess.run(command, check=True, capture_output=True, env=self.env)

    def repository(self, name: str) -> Path:
        folder = self.home / "code" / name
        folder.mkdir(parents=True)
        self.git(folder, "init", "-q")
        self.git(folder, "commit", "-q", "--allow-empty", "-m", f"Begin {name}")
        return folder

    def use(self, folder: Path) -> Record:
        """What the first turn in a folder does; the time is one that can be compared."""
        record = asyncio.run(self._use(folder, self.registry))
        record = replace(record, created=AT, last_used=AT)
        self.registry.keep(record)
        return record

    async def _use(self, folder: Path, registry: Registry) -> Record:
        place = await find_project(str(folder))
        return (await identity.identify(place, registry, self.env)).record

    def hold(self, sessions: Sequence[SessionRow], rules: Sequence[Rule] = ()) -> None:
        asyncio.run(self._hold(database_of(self.home), sessions, rules))

    async def _hold(self, path: Path, sessions: Sequence[SessionRow], rules: Sequence[Rule]) -> None:
        database = await Database.open(path)
        for session in sessions:
            await SessionTable(database).create(session)
        for item in rules:
            await Rules(database).add(item)
        await database.close()

    def kept(self) -> tuple[list[str], list[str]]:
        """The ids of the sessions and rules that are stored."""
        return asyncio.run(self._kept(database_of(self.home)))

    async def _kept(self, path: Path) -> tuple[list[str], list[str]]:
        database = await Database.open(path)
        sessions = [item.session_id for item in (await SessionTable(database).page()).rows]
        rules = [item.rule_id for item in await Rules(database).list_all()]
        await database.close()
        return sorted(sessions), rules


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def run(home: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    project.register(parser.add_subparsers())
    env = {"HERMES_EDITOR_HOME": str(home), "PATH": os.defpath, "HOME": str(home)}
    return project.run(parser.parse_args(["project", *words]), env)


def database_of(home: Path) -> Path:
    return config.paths({"HERMES_EDITOR_HOME": str(home)}).database


def session(number: int, key: str) -> SessionRow:
    return replace(row(number), project=key)


def rule(name: str, key: str, scope: str = "project") -> Rule:
    return Rule(name, "allow", "execute", name, "/", scope, AT, Origin(key, "s1", "Zed", "x"))  # type: ignore[arg-type]


def members(record: Record) -> dict[str, object]:
    return {
        "id": record.id,
        "name": record.name,
        "keys": list(record.keys),
        "former": list(record.former),
        "paths": list(record.paths),
        "remote": record.lineage.remote,
        "roots": list(record.lineage.roots),
        "parent": record.parent,
        "created": AT,
        "last_used": AT,
    }


# --- list and show -------------------------------------------------------------------------------


def test_projects_are_listed_with_their_place_and_sessions(desk: Desk, capsys: Captured) -> None:
    assert desk.run("list") == 0
    assert capsys.readouterr().out.startswith("There are no projects yet")
    shop, gone = desk.use(desk.repository("shop")), desk.use(desk.repository("gone"))
    desk.registry.keep(replace(gone, last_used=AT - 60))
    shutil.rmtree(desk.home / "code" / "gone")
    desk.hold([session(1, shop.keys[0]), session(2, shop.id), session(3, "/elsewhere")])
    assert desk.run("list") == 0
    code = desk.home / "code"
    assert capsys.readouterr().out.splitlines() == [
        f"{'ID':36}  LAST USED         SESSIONS  TRUST  NAME  FOLDER",
        f"{shop.id}  2026-01-02 03:04  2         -      shop  {code}/shop",
        f"{gone.id}  2026-01-02 03:03  0         -      gone  not found in {code}/gone",
    ]
    assert desk.run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[0] == {**members(shop), "sessions": 2, "trust": []}
    assert [item["id"] for item in listed] == [shop.id, gone.id]


def test_a_project_is_shown_by_folder_id_beginning_or_name(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    shop = desk.use(folder)
    desk.hold([session(1, shop.keys[0])], [rule("r1", shop.keys[0]), rule("r2", "/other")])
    for words in (["--cwd", str(folder)], [shop.id], [shop.id[:9]], ["shop"]):
        assert desk.run("show", *words, "--json") == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown == {**members(shop), "sessions": 1, "rules": 1, "related": [], "trust": []}
    assert desk.run("show", "shop") == 0
    shown = capsys.readouterr().out
    assert shown == (
        f"id           {shop.id}\n"
        "name         shop\n"
        f"lives in     {folder}/.git\n"
        f"used in      {folder}\n"
        f"begins with  {shop.lineage.roots[0]}\n"
        "sessions     1\n"
        "rules        1\n"
        f"kept in      {desk.registry.folder}/{shop.id}\n"
    )


def test_clones_and_parents_are_shown(desk: Desk, capsys: Captured) -> None:
    shop = desk.use(desk.repository("shop"))
    desk.git(desk.home, "clone", "-q", "code/shop", "again")
    again = desk.use(desk.home / "again")
    desk.registry.keep(replace(again, parent=shop.id))
    assert desk.run("show", "again") == 0
    shown = capsys.readouterr().out
    assert f"part of      shop ({shop.id})\n" in shown
    assert shown.endswith(f"The project shop ({shop.id}) is of the same repository.\n")


def test_looking_makes_nothing(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    before = sorted(desk.home.rglob("*"))
    assert desk.run("list", "--json") == 0
    assert capsys.readouterr().out == "[]\n"
    assert desk.run("show", "--cwd", str(folder)) == 1
    assert "is no project yet: it becomes one at the first turn in it" in capsys.readouterr().err
    assert sorted(desk.home.rglob("*")) == before


def test_what_fits_no_project_or_several_is_said(desk: Desk, capsys: Captured) -> None:
    shop = desk.use(desk.repository("shop"))
    desk.registry.keep(replace(shop, id=str(uuid.UUID(int=1)), keys=("/x\x1b/.git",)))
    for typed in ("", "../..", "nothing\x1b"):
        assert desk.run("show", typed or " ") == 1
        assert "There is no project" in (said := capsys.readouterr().err)
        assert "\x1b" not in said
    assert desk.run("show", "shop") == 1
    said = capsys.readouterr().err
    assert said.startswith("2 projects fit 'shop'. Type more of an id:\n")
    assert f"{shop.id}  {desk.home}/code/shop\n" in said
    assert "\x1b" not in said
    assert desk.run("show", "--cwd", str(desk.home / "missing")) == 1
    assert capsys.readouterr().err == f"{desk.home}/missing is not a folder.\n"


# --- move and join -------------------------------------------------------------------------------


def test_a_moved_project_is_told_its_place(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    shop = desk.use(folder)
    moved = folder.rename(desk.home / "moved")
    assert desk.run("move", "shop", str(moved)) == 0
    assert capsys.readouterr().out == f"moved lives in {moved} now.\n"
    found = desk.registry.get(shop.id)
    assert found is not None
    assert (found.keys, found.former, found.paths) == ((f"{moved}/.git",), shop.keys, (str(moved),))
    assert desk.run("move", "moved", str(desk.repository("other"))) == 1
    assert "moved is still in" in capsys.readouterr().err
    assert desk.run("move", "moved", str(desk.home / "missing")) == 1
    assert "is not a folder" in capsys.readouterr().err


def test_a_clone_joins_and_leaves_again(desk: Desk, capsys: Captured) -> None:
    shop = desk.use(desk.repository("shop"))
    desk.git(desk.home, "clone", "-q", "code/shop", "again")
    clone = desk.home / "again"
    again = desk.use(clone)
    (desk.registry.folder_of(again.id) / "memory").mkdir()
    assert desk.run("join", "shop", "--cwd", str(clone)) == 0
    assert capsys.readouterr().out == (
        f"{clone} belongs to shop now; `join --new` takes that back.\n"
        f"What was kept of it until now stays in the project {again.id}.\n"
    )
    assert desk.run("join", "--new", "--cwd", str(clone), "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert (alone["name"], alone["keys"]) == ("again", [f"{clone}/.git"])
    assert len({alone["id"], shop.id, again.id}) == 3
    kept = desk.registry.get(shop.id)
    assert kept is not None and kept.keys == shop.keys


@pytest.mark.parametrize("words", [[], ["shop", "--new"]])
def test_joining_needs_one_goal(desk: Desk, capsys: Captured, words: list[str]) -> None:
    desk.use(desk.repository("shop"))
    assert desk.run("join", *words) == 2
    assert capsys.readouterr().err.startswith("Say which project, or --new")


# --- forget --------------------------------------------------------------------------------------


def test_forgetting_takes_everything_of_the_project_and_nothing_else(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    config_before = (folder / ".git" / "config").read_text()
    shop, other = desk.use(folder), desk.use(desk.repository("other"))
    (desk.registry.folder_of(shop.id) / "memory").mkdir()
    desk.hold(
        [session(1, shop.keys[0]), session(2, other.keys[0]), session(3, shop.id)],
        [rule("r1", shop.keys[0]), rule("r2", other.keys[0]), rule("r3", shop.keys[0], "session")],
    )
    assert desk.run("forget", "shop") == 1
    assert capsys.readouterr().err == "shop was not forgotten: answer y, or add --yes.\n"
    assert desk.run("forget", "shop", "--yes", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "forgotten": shop.id,
        "sessions": 2,
        "rules": 1,
        "still_marked": [],
    }
    assert desk.kept() == (["s2"], ["r2"])
    assert desk.registry.all() == [other]
    assert not desk.registry.folder_of(shop.id).exists()
    assert (folder / ".git" / "config").read_text() == config_before


def test_sessions_of_a_former_place_are_forgotten_unless_another_project_lives_there(
    desk: Desk, capsys: Captured
) -> None:
    folder = desk.repository("shop")
    shop = desk.use(folder)
    desk.hold([session(1, shop.keys[0])])
    folder.rename(desk.home / "moved")
    desk.use(desk.home / "moved")
    other = desk.use(desk.repository("shop"))
    desk.hold([session(2, other.keys[0])])
    assert desk.run("forget", shop.id, "--yes") == 0
    assert capsys.readouterr().out == "Forgot moved (sessions: 0, rules: 0).\n"
    assert desk.run("forget", other.id, "--yes") == 0
    assert desk.kept() == ([], [])


def test_a_project_with_an_open_session_is_not_forgotten(desk: Desk, capsys: Captured) -> None:
    shop = desk.use(desk.repository("shop"))
    desk.hold([session(1, shop.keys[0]), session(2, shop.keys[0])])
    claims = desk.home / "data" / "claims"
    claims.mkdir()
    with (claims / "s2").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert desk.run("forget", "shop", "--yes") == 1
    said = capsys.readouterr().err
    assert said.startswith("shop was not forgotten, because a session of it is open. ")
    assert desk.kept() == (["s1", "s2"], [])
    assert desk.registry.all() == [shop]
    assert desk.run("forget", "shop", "--yes") == 0


def test_worktrees_of_the_agent_are_deleted_only_by_force(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    shop = desk.use(folder)
    trees = desk.registry.folder_of(shop.id) / "worktrees"
    desk.git(folder, "worktree", "add", "-q", str(trees / "task"))
    assert desk.run("forget", "shop", "--yes") == 1
    assert "whose work may not be merged: task. Apply or discard them" in capsys.readouterr().err
    assert (trees / "task").is_dir()
    assert desk.run("forget", "shop", "--yes", "--force") == 0
    assert not trees.exists()


def test_a_repository_that_cannot_be_changed_is_named(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    desk.use(folder)
    (folder / ".git" / "config.lock").touch()
    assert desk.run("forget", "--cwd", str(folder), "--yes") == 1
    assert capsys.readouterr().err == (f"{folder}/.git could not be changed and still names the project.\n")
    assert desk.registry.all() == []


# --- backup --------------------------------------------------------------------------------------


async def history(path: Path) -> damage.Events:
    opened = await Database.open(path)
    kept = await damage.read(opened)
    await opened.close()
    return kept


def test_a_backup_holds_everything_and_its_place_is_said(tmp_path: Path, capsys: Captured) -> None:
    kept = asyncio.run(damage.write(database_of(tmp_path), 2, 5))
    assert run(tmp_path, "backup") == 0
    said = capsys.readouterr().out
    (copy,) = (tmp_path / "data" / "backups").iterdir()
    assert said == f"The backup is {copy}.\n"
    assert asyncio.run(history(copy)) == kept


def test_a_backup_goes_where_it_is_told_but_over_nothing(tmp_path: Path, capsys: Captured) -> None:
    asyncio.run(damage.write(database_of(tmp_path), 1, 1))
    target = tmp_path / "mine.db"
    assert run(tmp_path, "backup", "--to", str(target), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"backup": str(target)}
    before = target.read_bytes()
    assert run(tmp_path, "backup", "--to", str(target)) == 1
    assert "exists already" in capsys.readouterr().err
    assert target.read_bytes() == before
    for wrong in (database_of(tmp_path), tmp_path, tmp_path / "missing" / "x.db"):
        assert run(tmp_path, "backup", "--to", str(wrong)) == 1
        assert str(wrong) in capsys.readouterr().err


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path, capsys: Captured) -> None:
    assert run(tmp_path, "backup") == 1
    assert "nothing to back up" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_makes_no_backup(tmp_path: Path, capsys: Captured) -> None:
    path = database_of(tmp_path)
    asyncio.run(damage.write(path))
    damage.spoil(path, damage.pages(path) - 2)
    assert run(tmp_path, "backup") == 1
    assert "is damaged" in capsys.readouterr().err
    assert list((tmp_path / "data" / "backups").iterdir()) == []


@pytest.mark.parametrize("words", [(), ("restore",)])
def test_what_it_does_not_know_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, *words)


def test_trust_is_given_shown_and_taken_back(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    (folder / "AGENTS.md").write_text("Be brief.")
    assert desk.run("trust", str(folder)) == 0
    assert capsys.readouterr().out == (f"The agent follows AGENTS.md of {folder} from the next session on.\n")
    assert desk.run("show", "shop") == 0
    assert "trust        the agent follows AGENTS.md\n" in capsys.readouterr().out
    assert desk.run("list", "--json") == 0
    (answer,) = json.loads(capsys.readouterr().out)[0]["trust"]
    assert answer == {
        "place": f"{folder}/.git",
        "answer": "trusted",
        "since": answer["since"],
        "features": ["AGENTS.md"],
    }
    assert desk.run("untrust", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"place": f"{folder}/.git", "answer": None}
    assert desk.run("untrust", str(folder)) == 0
    assert "was not trusted" in capsys.readouterr().out
    assert desk.run("trust", str(folder / "missing")) == 1


def test_a_project_that_is_forgotten_is_not_trusted_any_more(desk: Desk, capsys: Captured) -> None:
    folder = desk.repository("shop")
    assert desk.run("trust", str(folder), "--json") == 0
    assert json.loads(capsys.readouterr().out)["features"] == []
    assert desk.run("forget", "shop", "--yes") == 0
    assert TrustFile(desk.home / "data").all() == []
