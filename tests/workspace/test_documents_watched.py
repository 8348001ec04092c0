"""Who watches documents is told of every write: what it took the place of, and what is there now."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.workspace.documents import Document, Documents
from hermes_acp.workspace.editors import EditorError
from hermes_acp.workspace.locations import DocumentError

Told = tuple[str | None, str | None, bool]


@dataclass
class Watcher:
    """Keeps what it is told, in short."""

    told: list[Told] = field(default_factory=list)

    def wrote(self, before: Document, after: Document, *, sure: bool) -> None:
        self.told.append((before.text if before.exists else None, after.text if after.exists else None, sure))


@dataclass
class Editor:
    """An editor that shows `texts`, and saves what it is given, or fails."""

    texts: dict[str, str] = field(default_factory=dict)
    can_read: bool = True
    can_write: bool = True
    failure: Exception | None = None

    async def read_text(self, path: str) -> str:
        if path not in self.texts:
            raise EditorError("there is no such file")
        return self.texts[path]

    async def write_text(self, path: str, text: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.texts[path] = text
        await asyncio.to_thread(Path(path).write_text, text)


def permit(path: Path) -> Permit:
    return Permit(Effect("write", "Change", paths=(str(path),)))


async def test_writes_and_removals_on_the_disk_are_told(tmp_path: Path) -> None:
    watcher, path = Watcher(), tmp_path / "a"
    documents = Documents((str(tmp_path),)).watched(watcher)
    made = await documents.write(permit(path), await documents.read(str(path)), "one")
    await documents.write(permit(path), made, "two")
    await documents.delete(permit(path), await documents.read(str(path)))
    assert watcher.told == [(None, "one", True), ("one", "two", True), ("two", None, True)]


async def test_a_write_that_did_not_happen_is_not_told(tmp_path: Path) -> None:
    watcher, path = Watcher(), tmp_path / "a"
    path.write_text("one")
    documents = Documents((str(tmp_path),)).watched(watcher)
    read = await documents.read(str(path))
    path.write_text("changed")
    with pytest.raises(DocumentError):
        await documents.write(permit(path), read, "two")
    assert watcher.told == []


async def test_unsaved_text_is_what_a_write_takes_the_place_of(tmp_path: Path) -> None:
    watcher, path = Watcher(), tmp_path / "a"
    path.write_text("saved")
    editor = Editor({str(path): "unsaved"})
    documents = Documents((str(tmp_path),), lambda: editor).watched(watcher)
    await documents.write(permit(path), await documents.read(str(path)), "two")
    assert watcher.told == [("unsaved", "two", True)]


async def test_line_ends_of_the_disk_are_kept_in_what_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one\r\ntwo\r\n")
    editor = Editor({str(path): "one\ntwo\n"})
    seen: list[bytes | None] = []

    class Bytes(Watcher):
        def wrote(self, before: Document, after: Document, *, sure: bool) -> None:
            seen.append(before.data())

    documents = Documents((str(tmp_path),), lambda: editor).watched(Bytes())
    await documents.write(permit(path), await documents.read(str(path)), "three\n")
    assert seen == [b"one\r\ntwo\r\n"]


async def test_an_editor_that_fails_leaves_it_unsure(tmp_path: Path) -> None:
    watcher, path = Watcher(), tmp_path / "a"
    path.write_text("one")
    editor = Editor({str(path): "one"}, failure=EditorError("no"))
    documents = Documents((str(tmp_path),), lambda: editor).watched(watcher)
    with pytest.raises(DocumentError):
        await documents.write(permit(path), await documents.read(str(path)), "two")
    assert watcher.told == [("one", "two", False)]


async def test_an_editor_follows_the_disk_unless_it_shows_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("new")
    for showing, left in (("old", "new"), ("typed", "typed"), ("new", "new")):
        editor = Editor({str(path): showing})
        documents = Documents((str(tmp_path),), lambda editor=editor: editor)
        await documents.follow(str(path), Document(str(path), "old"))
        assert editor.texts == {str(path): left}
    blind = Editor({}, can_read=False)
    await Documents((str(tmp_path),), lambda: blind).follow(str(path), None)
    assert blind.texts == {str(path): "new"}
    await Documents((str(tmp_path),)).follow(str(path), None)


async def test_what_an_editor_shows_is_told_beside_what_the_disk_has(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("saved")
    (tmp_path / "binary").write_bytes(b"\0\1")
    editor = Editor({str(path): "unsaved"})
    documents = Documents((str(tmp_path),), lambda: editor)
    shown = await documents.shown(str(path))
    assert shown is not None
    assert [item.text for item in shown] == ["unsaved", "saved"]
    assert await documents.shown(str(tmp_path / "binary")) is None
    assert await documents.shown("/elsewhere") is None
    assert await Documents((str(tmp_path),)).shown(str(path)) is None
