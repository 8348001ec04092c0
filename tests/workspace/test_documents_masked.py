"""Files whose secrets are masked: what is read has marks, what is written has the secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.content import Diff
from hermes_acp.policy.effects import Effect, Permit
from hermes_acp.policy.masking import MARK, Masks
from hermes_acp.tools.files import edit_file, read_file, write_file
from hermes_acp.tools.patch import apply_patch
from hermes_acp.workspace.documents import Documents
from hermes_acp.workspace.locations import DocumentError
from tests.tools.context import Buffers, Context, call, error, make_context

TOKEN = "ghp_9fK2mQx7Lw4Zt8Rb1Vn6Yc3Hd5Js0Pg4Ua7E"
OTHER = "ghp_1Vn6Yc3Hd5Js0Pg4Ua7E9fK2mQx7Lw4Zt8Rb"
TEXT = f"PORT=1\r\nGITHUB_TOKEN={TOKEN}\r\nNAME=caf\u00e9\r\n"
KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n" * 40
KEY += "-----END PRIVATE" + " KEY-----\n"


def masked(folder: Path, editor: Buffers | None = None) -> Context:
    context = make_context(folder, editor)
    context.documents = context.documents.masked(Masks())
    return context


def writing(path: Path) -> Permit:
    return Permit(Effect("write", "", paths=(str(path),)))


async def test_line_ends_and_encoding_stay_around_a_secret(tmp_path: Path) -> None:
    file, context = tmp_path / ".env", masked(tmp_path)
    file.write_bytes(TEXT.encode("utf-8-sig"))
    await call(edit_file, context, path=".env", edits=[{"old": "PORT=1\nGITHUB", "new": "PORT=2\nGITHUB"}])
    assert file.read_bytes() == TEXT.replace("PORT=1", "PORT=2").encode("utf-8-sig")


async def test_an_edit_may_move_the_mark_within_its_file(tmp_path: Path) -> None:
    file, context = tmp_path / ".env", masked(tmp_path)
    file.write_text(f"A={TOKEN}\nB=\n")
    mark = MARK.findall((await call(read_file, context, path=".env")).text)[0]
    edits = [{"old": f"A={mark}\n", "new": ""}, {"old": "B=", "new": f"B='{mark}'"}]
    result = await call(edit_file, context, path=".env", edits=edits)
    assert file.read_text() == f"B='{TOKEN}'\n"
    assert result.shown == (Diff(str(file), f"B='{mark}'\n", f"A={mark}\nB=\n"),)
    assert TOKEN not in str((result, context.asked))


async def test_no_part_of_a_key_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_text(f"# key\n{KEY}end\n")
    result = await call(read_file, masked(tmp_path), path="a.pem", offset=2)
    assert MARK.sub("MARK", result.text) == "a.pem lines 2-3 of 3\nMARK\nend"


async def test_a_secret_goes_into_no_other_file(tmp_path: Path) -> None:
    context = masked(tmp_path)
    (tmp_path / ".env").write_text(f"A={TOKEN}\n")
    mark = MARK.findall((await call(read_file, context, path=".env")).text)[0]
    assert "nothing was written" in await error(write_file, context, path="out.txt", content=mark)
    moved = (
        f"*** Begin Patch\n*** Update File: .env\n*** Move to: b.env\n@@\n-A={mark}\n+B={mark}\n*** End Patch"
    )
    assert "nothing was written" in await error(apply_patch, context, patch=moved)
    assert {path.name for path in tmp_path.iterdir()} == {".env"}
    assert (tmp_path / ".env").read_text() == f"A={TOKEN}\n"


async def test_a_patch_that_fails_puts_the_secret_back(tmp_path: Path) -> None:
    context = masked(tmp_path)
    (tmp_path / ".env").write_text(f"A={TOKEN}\nB=1\n")
    (tmp_path / "a.txt").write_text("old\n")
    context.meanwhile = lambda: (tmp_path / "a.txt").write_text("changed\n")
    patch = (
        "*** Begin Patch\n*** Update File: .env\n@@\n-B=1\n+B=2\n"
        "*** Update File: a.txt\n@@\n-old\n+new\n*** End Patch"
    )
    await error(apply_patch, context, patch=patch)
    assert (tmp_path / ".env").read_text() == f"A={TOKEN}\nB=1\n"


async def test_a_change_of_the_secret_meanwhile_is_noticed(tmp_path: Path) -> None:
    file, documents = tmp_path / ".env", Documents((str(tmp_path),)).masked(Masks())
    file.write_text(f"A={TOKEN}\n")
    before = await documents.read(str(file))
    file.write_text(f"A={OTHER}\n")
    with pytest.raises(DocumentError, match="changed since it was read"):
        await documents.write(writing(file), before, f"{before.text}B=1\n")
    assert file.read_text() == f"A={OTHER}\n"


async def test_unsaved_text_of_an_editor_keeps_its_secret(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("A=\n")
    editor = Buffers({str(file): f"A={TOKEN}\nB=1\n"})
    context = masked(tmp_path, editor)
    await call(edit_file, context, path=".env", edits=[{"old": "B=1", "new": "B=2"}])
    assert editor.written == [(str(file), f"A={TOKEN}\nB=2\n")]


async def test_a_secret_that_the_model_writes_itself_is_stored_as_it_is(tmp_path: Path) -> None:
    context = masked(tmp_path)
    result = await call(write_file, context, path=".env", content=f"A={TOKEN}\n")
    assert (tmp_path / ".env").read_text() == f"A={TOKEN}\n"
    assert "The editor changed" not in result.text


async def test_who_reads_without_masks_gets_the_text_itself(tmp_path: Path) -> None:
    file, documents = tmp_path / ".env", Documents((str(tmp_path),))
    file.write_text(f"A={TOKEN}\n")
    hidden = await documents.masked(Masks()).read(str(file))
    assert hidden.real == await documents.read(str(file))
    assert (hidden.real.text, hidden.data()) == (f"A={TOKEN}\n", f"A={TOKEN}\n".encode())
