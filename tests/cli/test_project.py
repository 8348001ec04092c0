"""`hermes-editor project backup` on a real database."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

import pytest

from hermes_acp import config
from hermes_acp.cli import project
from hermes_acp.storage.database import Database
from tests.storage import damage

Captured = pytest.CaptureFixture[str]


def run(home: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    project.register(parser.add_subparsers())
    return project.run(parser.parse_args(["project", *words]), {"HERMES_EDITOR_HOME": str(home)})


def database(home: Path) -> Path:
    return config.paths({"HERMES_EDITOR_HOME": str(home)}).database


async def history(path: Path) -> damage.Events:
    opened = await Database.open(path)
    kept = await damage.read(opened)
    await opened.close()
    return kept


def test_a_backup_holds_everything_and_its_place_is_said(tmp_path: Path, capsys: Captured) -> None:
    kept = asyncio.run(damage.write(database(tmp_path), 2, 5))
    assert run(tmp_path, "backup") == 0
    said = capsys.readouterr().out
    (copy,) = (tmp_path / "data" / "backups").iterdir()
    assert said == f"The backup is {copy}.\n"
    assert asyncio.run(history(copy)) == kept


def test_a_backup_goes_where_it_is_told_but_over_nothing(tmp_path: Path, capsys: Captured) -> None:
    asyncio.run(damage.write(database(tmp_path), 1, 1))
    target = tmp_path / "mine.db"
    assert run(tmp_path, "backup", "--to", str(target), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"backup": str(target)}
    before = target.read_bytes()
    assert run(tmp_path, "backup", "--to", str(target)) == 1
    assert "exists already" in capsys.readouterr().err
    assert target.read_bytes() == before
    for wrong in (database(tmp_path), tmp_path, tmp_path / "missing" / "x.db"):
        assert run(tmp_path, "backup", "--to", str(wrong)) == 1
        assert str(wrong) in capsys.readouterr().err


def test_where_there_is_nothing_nothing_is_made(tmp_path: Path, capsys: Captured) -> None:
    assert run(tmp_path, "backup") == 1
    assert "nothing to back up" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_database_makes_no_backup(tmp_path: Path, capsys: Captured) -> None:
    path = database(tmp_path)
    asyncio.run(damage.write(path))
    damage.spoil(path, damage.pages(path) - 2)
    assert run(tmp_path, "backup") == 1
    assert "is damaged" in capsys.readouterr().err
    assert list((tmp_path / "data" / "backups").iterdir()) == []


@pytest.mark.parametrize("words", [(), ("restore",)])
def test_what_it_does_not_know_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(tmp_path, *words)
