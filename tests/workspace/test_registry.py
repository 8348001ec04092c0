"""The folder of each project and its record: whole or not there, with several processes at work."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_acp.storage.errors import StorageError
from hermes_acp.workspace import registry as module
from hermes_acp.workspace.lineage import Lineage
from hermes_acp.workspace.registry import Record, Registry

SOMETIME = 1_000_000.0


def record(number: int) -> Record:
    return Record(
        id=str(uuid.UUID(int=number)),
        name=f"project {number}",
        keys=(f"/code/{number}/.git",),
        former=("/old",),
        paths=(f"/code/{number}",),
        lineage=Lineage("forge.example/x", ("a" * 40,)),
        parent=str(uuid.UUID(int=99)),
        created=SOMETIME,
        last_used=SOMETIME + number,
    )


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "data" / "projects")


def keep(registry: Registry, *records: Record) -> None:
    with registry.changing():
        for item in records:
            registry.keep(item)


def test_what_is_kept_comes_back_and_the_last_used_first(registry: Registry) -> None:
    assert (registry.all(), registry.folder.exists()) == ([], False)
    keep(registry, record(1), record(3), record(2))
    assert registry.all() == [record(3), record(2), record(1)]
    keep(registry, replace(record(1), last_used=SOMETIME + 4))
    assert [item.name for item in registry.all()] == ["project 1", "project 3", "project 2"]
    assert registry.get(record(2).id) == record(2)
    assert registry.get(record(4).id) is None


def test_a_record_is_readable_by_people_and_by_nobody_else(registry: Registry) -> None:
    keep(registry, record(1))
    file = registry.folder_of(record(1).id) / "project.json"
    assert json.loads(file.read_text()) == {
        "id": record(1).id,
        "name": "project 1",
        "keys": ["/code/1/.git"],
        "former": ["/old"],
        "paths": ["/code/1"],
        "remote": "forge.example/x",
        "roots": ["a" * 40],
        "parent": record(1).parent,
        "created": SOMETIME,
        "last_used": SOMETIME + 1,
    }
    modes = [path.stat().st_mode & 0o777 for path in (file, file.parent, registry.folder)]
    assert modes == [0o600, 0o700, 0o700]


DAMAGE = [
    b"",
    b"{",
    b"null",
    b"[" * 100_000,
    b"\xff\0",
    b'{"id": 1}',
    b'{"id": "x", "name": "x", "keys": [], "created": NaN, "last_used": 1e999}',
    b" " * (module.RECORD_BYTES - 1),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_missing_and_can_be_written_again(registry: Registry, damage: bytes) -> None:
    keep(registry, record(1), record(2))
    (registry.folder_of(record(1).id) / "project.json").write_bytes(damage)
    assert (registry.get(record(1).id), registry.all()) == (None, [record(2)])
    keep(registry, record(1))
    assert registry.all() == [record(2), record(1)]


def test_a_record_under_the_name_of_another_does_not_count(registry: Registry) -> None:
    keep(registry, record(1))
    registry.folder_of(record(1).id).rename(registry.folder_of(record(2).id))
    assert registry.all() == []


@pytest.mark.parametrize("odd", ["pipe", "folder", "too long"])
def test_a_record_that_is_no_plain_file_is_said_to_be_so(registry: Registry, odd: str) -> None:
    keep(registry, record(1))
    file = registry.folder_of(record(1).id) / "project.json"
    file.unlink()
    match odd:
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case _:
            file.write_bytes(b" " * (module.RECORD_BYTES + 1))
    with pytest.raises(StorageError, match=r"project\.json is"):
        registry.all()


def test_what_else_lies_in_the_folder_is_no_project(registry: Registry) -> None:
    keep(registry, record(1))
    for name in (".forgotten-x", "notes", str(uuid.UUID(int=5)), str(uuid.UUID(int=0xA)).upper()):
        (registry.folder / name).mkdir()
    assert registry.all() == [record(1)]


@pytest.mark.parametrize("wrong", ["", "..", "/", "x/../y", str(uuid.UUID(int=0xA)).upper()])
def test_only_an_id_has_a_folder(registry: Registry, wrong: str) -> None:
    with pytest.raises(ValueError, match="no project id"):
        registry.folder_of(wrong)


def test_a_removal_takes_everything_and_what_an_earlier_one_left(registry: Registry) -> None:
    keep(registry, record(1), record(2))
    (registry.folder_of(record(1).id) / "memory" / "deep").mkdir(parents=True)
    (registry.folder / f"{module.FORGOTTEN}rest" / "deep").mkdir(parents=True)
    assert [registry.is_empty(record(number).id) for number in (1, 2)] == [False, True]
    with registry.changing():
        registry.remove(record(1).id)
        registry.remove(record(1).id)
    assert {path.name for path in registry.folder.iterdir()} == {record(2).id, "registry.lock"}


def test_a_data_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "projects").touch()
    with pytest.raises(StorageError, match=str(tmp_path / "projects")):
        keep(Registry(tmp_path / "projects"), record(1))
    with pytest.raises(StorageError, match=str(tmp_path / "projects")):
        Registry(tmp_path / "projects").all()


def test_changes_wait_for_each_other_in_one_process_too(registry: Registry) -> None:
    order: list[str] = []
    waiting = threading.Thread(target=lambda: (keep(registry, record(2)), order.append("second")))
    with registry.changing():
        waiting.start()
        registry.keep(record(1))
        order.append("first")
    waiting.join(5)
    assert (order, registry.all()) == (["first", "second"], [record(2), record(1)])


def count(folder: Path, times: int) -> None:
    registry = Registry(folder)
    for _ in range(times):
        with registry.changing():
            found = registry.get(record(1).id)
            assert found is not None
            registry.keep(replace(found, created=found.created + 1))


def test_no_change_of_several_processes_is_lost(registry: Registry) -> None:
    keep(registry, record(1))
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=count, args=(registry.folder, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    assert registry.all() == [replace(record(1), created=SOMETIME + 60)]
