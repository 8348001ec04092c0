"""Files as the agent sees them: what is read, refused and written, from editors and from the disk."""

import asyncio
import os
import socket
import stat
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from hermes_acp.policy.effects import Effect, Permit, PermitMismatch
from hermes_acp.workspace import documents as module
from hermes_acp.workspace.documents import Document, Documents
from hermes_acp.workspace.editors import EditorError
from hermes_acp.workspace.locations import DocumentError, inside, printable, resolve

BOM = b"\xef\xbb\xbf"


@dataclass
class Editor:
    """An editor that holds unsaved texts; `stores` is what it makes of a text that it is given."""

    texts: dict[str, str] = field(default_factory=dict)
    can_read: bool = True
    can_write: bool = True
    silent: bool = False
    refusal: str = ""
    suffix: str = ""
    written: list[tuple[str, str]] = field(default_factory=list)

    async def read_text(self, path: str) -> str:
        if path not in self.texts:
            raise EditorError("that file is not open")
        return self.texts[path]

    async def write_text(self, path: str, text: str) -> None:
        if self.silent:
            await asyncio.Event().wait()
        if self.refusal:
            raise EditorError(self.refusal)
        self.written.append((path, text))
        self.texts[path] = text + self.suffix
        await asyncio.to_thread(Path(path).write_text, text + self.suffix)


def permit(*paths: Path) -> Permit:
    return Permit(Effect("write", "write", paths=tuple(map(str, paths))))


def plain(folder: Path) -> Documents:
    return Documents((str(folder),))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def refusal(folder: Path, name: str) -> str:
    with pytest.raises(DocumentError) as caught:
        await plain(folder).read(str(folder / name))
    return str(caught.value).replace(str(folder), "")


# --- names ---------------------------------------------------------------------------------------


def test_names_become_absolute_and_real(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    cwd = str(tmp_path)
    assert [resolve(cwd, name) for name in ("a", "./real/../b", "link/c", "/x//y/", "~/d", "..")] == [
        f"{cwd}/a",
        f"{cwd}/b",
        f"{cwd}/real/c",
        "/x/y",
        f"{cwd}/~/d",
        str(tmp_path.parent),
    ]


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_names_that_no_file_can_have_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError):
        resolve(str(tmp_path), name)


def test_a_twin_is_not_inside() -> None:
    cases = ["/repo", "/repo/a", "/repo-twin", "/repo-twin/a", "/", "/rep"]
    assert [inside(path, ("/repo",)) for path in cases] == [True, True, False, False, False, False]
    assert inside("/anything", ("/",))


def test_names_are_shown_without_control_characters() -> None:
    assert printable("a\nb\x1b[1m\udcff\u202fé") == "a\ufffdb\ufffd[1m\ufffd\u202fé"


# --- reading -------------------------------------------------------------------------------------

FORMS = {
    "plain": (b"a\nb\n", ("a\nb\n", "\n", "utf-8")),
    "empty": (b"", ("", "\n", "utf-8")),
    "open end": (b"a", ("a", "\n", "utf-8")),
    "windows": (b"a\r\nb\r\n", ("a\nb\n", "\r\n", "utf-8")),
    "old mac": (b"a\rb\r", ("a\nb\n", "\r", "utf-8")),
    "mixed": (b"a\r\nb\nc\r\n", ("a\r\nb\nc\r\n", "\n", "utf-8")),
    "marked": (BOM + b"a\n", ("a\n", "\n", "utf-8-sig")),
    "utf-16 little": ("\ufeffé\r\n".encode("utf-16-le"), ("é\n", "\r\n", "utf-16-le")),
    "utf-16 big": ("\ufeffé\n".encode("utf-16-be"), ("é\n", "\n", "utf-16-be")),
}


@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_text_is_read_and_written_back_as_it_was(form: str, tmp_path: Path) -> None:
    data, (text, newline, encoding) = FORMS[form]
    path = tmp_path / "file"
    path.write_bytes(data)
    documents = plain(tmp_path)
    document = await documents.read(str(path))
    assert document == Document(str(path), text, True, newline, encoding)
    changed = await documents.write(permit(path), document, f"{text}new\n")
    assert await documents.read(str(path)) == changed
    await documents.write(permit(path), changed, text)
    assert path.read_bytes() == data


async def test_what_is_not_text_is_refused_with_its_size(tmp_path: Path) -> None:
    (tmp_path / "nul").write_bytes(b"a\0b")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    (tmp_path / "utf-32").write_bytes("\ufeffa".encode("utf-32-le"))
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", module.TEXT_BYTES + 1)
    assert [await refusal(tmp_path, name) for name in ("nul", "latin", "utf-32", "huge")] == [
        "/nul is not readable as text (binary, 3 bytes): use a command to look at it.",
        "/latin is not readable as text (not UTF-8 text, 4 bytes): use a command to look at it.",
        "/utf-32 is not readable as text (binary, 8 bytes): use a command to look at it.",
        "/huge is too large: 10,485,761 bytes or more, the limit is 10,485,760. "
        "Use search or a command to look at parts of it.",
    ]


def bind(server: socket.socket, path: Path) -> None:
    """Under a short name: those of sockets are limited to about a hundred bytes."""
    short = Path(tempfile.mkdtemp(prefix="h")) / "socket"
    server.bind(str(short))
    short.rename(path)
    short.parent.rmdir()


async def test_only_ordinary_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        bind(server, tmp_path / "socket")
        special = ("pipe", "folder", "socket", "/dev/zero")
        assert [await refusal(tmp_path, name) for name in special] == [
            "/pipe is a named pipe, which cannot be read or written as a file.",
            "/folder is a folder: use list_dir.",
            "/socket is a socket, which cannot be read or written as a file.",
            "/dev/zero is a device, which cannot be read or written as a file.",
        ]


async def test_missing_files_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    documents = plain(tmp_path)
    assert [await documents.read(str(tmp_path / name)) for name in ("a/b", "file/below")] == [
        Document(str(tmp_path / name), "", exists=False) for name in ("a/b", "file/below")
    ]


@pytest.mark.parametrize("name", ["link", "folder/file", "folder/new/deep"])
async def test_no_link_is_followed_to_a_file_or_a_folder(tmp_path: Path, name: str) -> None:
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (outside / "file").write_text("canary")
    (tmp_path / "link").symlink_to(outside / "file")
    (tmp_path / "folder").symlink_to(outside)
    path, documents = tmp_path / name, plain(tmp_path)
    before = Document(str(path), "canary", exists=True)
    for work in (
        documents.read(str(path)),
        documents.read_bytes(str(path), 100),
        documents.write(permit(path), before, "owned"),
        documents.write(permit(path), Document(str(path), "", exists=False), "owned"),
        documents.delete(permit(path), before),
    ):
        with pytest.raises(DocumentError, match="a link has taken its place"):
            await work
    assert {entry.name: entry.read_text() for entry in outside.iterdir()} == {"file": "canary"}


async def test_a_write_leaves_the_other_names_of_a_file_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    other = tmp_path.with_name(f"{tmp_path.name}-other")
    os.link(tmp_path / "file", other)
    documents = plain(tmp_path)
    path = tmp_path / "file"
    await documents.write(permit(path), await documents.read(str(path)), "new")
    assert (path.read_text(), other.read_text()) == ("new", "old")


async def test_links_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "cannot be read" in await refusal(tmp_path, "a")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_a_file_that_hides_its_size_is_still_bounded() -> None:
    document = await Documents(("/",)).read(f"/proc/{os.getpid()}/status")
    assert document.text.startswith("Name:")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_an_unreadable_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    assert await refusal(tmp_path, "secret") == "/secret cannot be read: Permission denied."


# --- writing -------------------------------------------------------------------------------------


async def test_a_new_file_gets_its_folders_and_the_mode_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    documents = plain(tmp_path)
    written = await documents.write(permit(path), await documents.read(str(path)), "text\n")
    (tmp_path / "other").touch()
    assert written == Document(str(path), "text\n")
    assert path.read_text() == "text\n"
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


async def test_a_write_keeps_mode_and_link_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = tmp_path / "script.sh"
    script.write_text("old")
    script.chmod(0o751)
    (tmp_path / "link").symlink_to("script.sh")
    documents = plain(tmp_path)
    await documents.write(permit(script), await documents.read(str(script)), "new")
    assert names(tmp_path) == ["link", "script.sh"]
    assert (script.read_text(), stat.S_IMODE(script.stat().st_mode)) == ("new", 0o751)
    assert (tmp_path / "link").is_symlink()


async def test_a_file_that_changed_since_it_was_read_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    for change in (lambda: path.write_text("theirs"), path.unlink):
        change()
        with pytest.raises(DocumentError, match="changed since it was read: nothing was written"):
            await documents.write(permit(path), before, "ours")
        with pytest.raises(DocumentError, match="changed since it was read"):
            await documents.delete(permit(path), before)
    assert names(tmp_path) == []


async def test_a_file_that_appeared_since_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    path.parent.mkdir()
    path.write_text("theirs")
    with pytest.raises(DocumentError, match="changed"):
        await documents.write(permit(path), before, "ours")
    assert path.read_text() == "theirs"


async def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    (tmp_path / "elsewhere").mkdir()
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    (tmp_path / "folder").symlink_to("elsewhere")
    with pytest.raises(DocumentError, match="link"):
        await documents.write(permit(path), before, "ours")
    assert names(tmp_path / "elsewhere") == []


async def test_of_two_writes_at_once_the_second_sees_the_first(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    results = await asyncio.gather(
        *(documents.write(permit(path), before, text) for text in ("one", "two")), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["Document", "DocumentError"]
    assert Document(str(path), path.read_text()) in results


async def test_a_cancelled_write_is_whole_or_absent_when_the_caller_hears_of_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    text = "x" * 5_000_000
    async with asyncio.TaskGroup() as group:
        writing = group.create_task(documents.write(permit(path), before, text))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait((writing,))
        left = names(tmp_path)
    assert writing.cancelled()
    assert left in ([], ["file"])
    assert not left or path.read_text() == text


async def test_folders_made_for_a_write_that_fails_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "a" / ("n" * 300)
    documents = plain(tmp_path)
    before = Document(str(path), "", exists=False)
    with pytest.raises(DocumentError):
        await documents.write(permit(path), before, "text")
    (tmp_path / "file").touch()
    below = tmp_path / "file" / "b" / "c"
    with pytest.raises(DocumentError, match="Nothing was changed"):
        await documents.write(permit(below), Document(str(below), "", exists=False), "text")
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("text", ["half \ud800", "nul \0", "x" * (module.TEXT_BYTES + 1)])
async def test_text_that_could_not_be_read_back_is_not_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    with pytest.raises(DocumentError):
        await plain(tmp_path).write(permit(path), Document(str(path), "", exists=False), text)
    assert not path.exists()


async def test_nothing_is_written_or_deleted_without_its_permit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    with pytest.raises(PermitMismatch):
        await documents.write(permit(tmp_path / "other"), before, "new")
    with pytest.raises(PermitMismatch):
        await documents.delete(permit(tmp_path), before)
    assert path.read_text() == "old"


async def test_a_deleted_file_is_gone_and_comes_back_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o750)
    documents = plain(tmp_path)
    before = await documents.read(str(path))
    await documents.delete(permit(path), before)
    assert not path.exists()
    await documents.write(permit(path), replace(before, text="", exists=False), before.text)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("text", 0o750)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
async def test_a_read_only_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch(mode=0o444)
    documents = plain(tmp_path)
    with pytest.raises(DocumentError, match="read-only"):
        await documents.write(permit(path), await documents.read(str(path)), "new")


async def test_bytes_are_read_within_a_limit(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"\0" * 10)
    documents = plain(tmp_path)
    assert await documents.read_bytes(str(tmp_path / "image"), 10) == b"\0" * 10
    assert await documents.read_bytes(str(tmp_path / "none"), 10) is None
    with pytest.raises(DocumentError, match="too large"):
        await documents.read_bytes(str(tmp_path / "image"), 9)


# --- through the editor --------------------------------------------------------------------------


async def test_unsaved_text_wins_over_the_disk_inside_the_roots_only(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    for path in (root / "file", outside):
        path.write_text("saved")
    editor = Editor({str(root / "file"): "unsaved", str(outside): "unsaved", str(root / "new"): "new"})
    documents = Documents((str(root),), lambda: editor)
    texts = [await documents.read(str(path)) for path in (root / "file", outside, root / "new")]
    assert texts == [
        Document(str(root / "file"), "unsaved"),
        Document(str(outside), "saved"),
        Document(str(root / "new"), "new"),
    ]
    editor.can_read = False
    assert (await documents.read(str(root / "file"))).text == "saved"


async def test_what_the_editor_does_not_know_comes_from_the_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("saved")
    editor = Editor({str(tmp_path / "nothing"): ""})
    documents = Documents((str(tmp_path),), lambda: editor)
    assert (await documents.read(str(tmp_path / "file"))).text == "saved"
    assert not (await documents.read(str(tmp_path / "nothing"))).exists


async def test_what_the_editor_stored_is_what_a_write_gives(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    editor = Editor(suffix="# formatted\n")
    documents = Documents((str(tmp_path),), lambda: editor)
    written = await documents.write(permit(path), await documents.read(str(path)), "a\n")
    assert written == Document(str(path), "a\n# formatted\n")
    assert editor.written == [(str(path), "a\n")]


async def test_line_ends_go_to_the_editor_as_they_came(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a\r\n")
    editor = Editor({str(path): "b\r\n"})
    documents = Documents((str(tmp_path),), lambda: editor)
    await documents.write(permit(path), await documents.read(str(path)), "b\nc\n")
    assert editor.written == [(str(path), "b\r\nc\r\n")]


async def test_an_editor_that_only_reads_leaves_the_form_of_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BOM + b"a\r\n")
    editor = Editor({str(path): "a\nunsaved\n"}, can_write=False)
    documents = Documents((str(tmp_path),), lambda: editor)
    before = await documents.read(str(path))
    assert before == Document(str(path), "a\nunsaved\n", True, "\r\n", "utf-8-sig")
    await documents.write(permit(path), before, "a\nb\n")
    assert path.read_bytes() == BOM + b"a\r\nb\r\n"


async def test_text_that_changed_in_the_editor_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    editor = Editor({str(path): "old"})
    documents = Documents((str(tmp_path),), lambda: editor)
    before = await documents.read(str(path))
    editor.texts[str(path)] = "typed by the user"
    with pytest.raises(DocumentError, match="changed since it was read"):
        await documents.write(permit(path), before, "ours")
    assert (editor.written, path.read_text()) == ([], "old")


async def test_an_editor_that_refuses_to_write_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    editor = Editor(refusal="the buffer is locked")
    documents = Documents((str(tmp_path),), lambda: editor)
    with pytest.raises(DocumentError, match="the buffer is locked"):
        await documents.write(permit(path), await documents.read(str(path)), "text")
    assert names(tmp_path) == []


async def test_a_write_that_waits_for_the_editor_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "file"
    lent: list[Editor] = [Editor(silent=True)]
    documents = Documents((str(tmp_path),), lambda: lent[0] if lent else None)
    before = await documents.read(str(path))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await documents.write(permit(path), before, "text")
    lent.clear()
    assert (await documents.write(permit(path), before, "text")).text == "text"
