"""What the user types: commands, mentions of files, the history; and the list of sessions."""

from __future__ import annotations

import asyncio
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from hermes_acp import config
from hermes_acp.cli.attach import history, mentions, picker, sessions, words
from hermes_acp.cli.attach.completion import PromptCompleter
from hermes_acp.cli.attach.pieces import Command, Option, Value
from hermes_acp.cli.attach.sessions import Listed, NoSession
from hermes_acp.cli.attach.state import State
from hermes_acp.cli.attach.words import Typed

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MODE = Option("mode", "mode", "ask", (Value("ask", "Ask", "First"), Value("plan", "Plan")))


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("/detach", Typed("detach")),
        (" /mode  plan ", Typed("mode", "plan")),
        ("/compact", None),
        ("/tmp/x is broken", None),
        ("say /help", None),
    ],
)
def test_only_the_windows_own_commands_are_taken_from_the_prompts(text: str, typed: Typed | None) -> None:
    assert words.parse(text) == typed


def test_commands_and_their_values_are_completed() -> None:
    state = State(options=(MODE,), commands=(Command("compact", "Make room"),))
    assert words.completions(state, "/com") == (("/compact", "Make room"),)
    assert words.completions(state, "/mode p") == (("plan", "Plan"),)
    assert words.completions(state, "text /com") == ()


def test_a_value_is_found_by_its_name_or_a_part_that_only_it_has() -> None:
    assert words.value(MODE, "Plan") == MODE.values[1]
    assert words.value(MODE, "pl") == MODE.values[1]
    assert words.value(MODE, "a") is None
    assert words.values(MODE) == "* ask  First\n  plan"


async def test_mentions_of_files_become_links_and_everything_else_stays_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    (tmp_path / "b c.py").touch()
    text = 'see @a.py, and (@"b c.py") me@a.py @none @'
    assert await mentions.blocks(text, str(tmp_path)) == [
        {"type": "text", "text": "see "},
        {"type": "resource_link", "uri": (tmp_path / "a.py").as_uri(), "name": "a.py"},
        {"type": "text", "text": ", and ("},
        {"type": "resource_link", "uri": (tmp_path / "b c.py").as_uri(), "name": "b c.py"},
        {"type": "text", "text": ") me@a.py @none @"},
    ]
    assert await mentions.blocks("@" + "x" * 5000 + "\0", str(tmp_path)) != []


async def test_files_are_those_that_git_does_not_ignore(tmp_path: Path) -> None:
    env = {"PATH": config.environment()["PATH"]}
    (tmp_path / "sub").mkdir()
    for name in ("a.py", "sub/b.py", "c.log", ".hidden"):
        (tmp_path / name).touch()
    assert await mentions.files(str(tmp_path), env) == ("a.py", "c.log", "sub/b.py")
    await asyncio.to_thread(subprocess.run, ["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".gitignore").write_text("*.log\n")
    found = await mentions.files(str(tmp_path), env)
    assert found == (".gitignore", ".hidden", "a.py", "sub/b.py")
    assert mentions.offered(found, "B") == ("sub/b.py",)
    assert (mentions.typed("see @su"), mentions.typed("me@su"), mentions.typed("@a b")) == ("su", None, None)


async def test_behind_an_at_come_references_and_then_files(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "my app.py").write_text("def run_all():\n    pass\n")
    (tmp_path / "diff").touch()
    project = mentions.Mentionable(lambda: str(tmp_path), {"PATH": config.environment()["PATH"]})
    completer = PromptCompleter(State, project)

    async def offered(text: str) -> list[str]:
        """What the text can become; a completion replaces what was typed behind the `@`, and that."""
        found = completer.get_completions_async(Document(text), CompleteEvent())
        return [text[: len(text) + item.start_position] + item.text async for item in found]

    forms = ["@diff", "@staged", "@file:", "@folder:", "@git:", "@symbol:"]
    assert await offered("see @") == [f"see {form}" for form in forms] + ["see @diff", 'see @"src/my app.py"']
    assert await offered("@sta") == ["@staged"]
    assert await offered("@file:my") == ['@file:"src/my app.py"']
    assert await offered('@file:"src/my a') == ['@file:"src/my app.py"']
    assert await offered("@folder:s") == ["@folder:src"]
    assert await offered("@git:1") == ["@git:1", "@git:10"]
    assert await offered("@symbol:run") == ["@symbol:run_all"]
    assert await offered("@symbol:(") == []


async def test_a_reference_stays_text_though_a_file_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "diff").touch()
    text = "Review @diff and @git:2."
    assert await mentions.blocks(text, str(tmp_path)) == [{"type": "text", "text": text}]


def test_the_history_is_private_bounded_and_survives_damage(tmp_path: Path) -> None:
    file = tmp_path / "state" / "history.jsonl"
    assert history.read(file) == []
    history.append(file, "first\nline")
    history.append(file, "x" * (history.ENTRY_CHARS + 1))
    with file.open("ab") as stream:
        stream.write(b'{"a": 1}\n\xff\n[\n')
    history.append(file, "last")
    assert history.read(file) == ["first\nline", "last"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    long = "y" * history.ENTRY_CHARS
    for _ in range(history.FILE_BYTES // history.ENTRY_CHARS + 2):
        history.append(file, long)
    assert file.stat().st_size <= 2 * history.FILE_BYTES
    assert history.read(file)[-1] == long


def listed(name: str, cwd: str, hours: int, title: str = "") -> Listed:
    return Listed(name, cwd, title, NOW - timedelta(hours=hours))


def test_sessions_of_this_folder_come_first_and_the_newest_first() -> None:
    found = [listed("a", "/x", 5), listed("b", "/y", 1), listed("c", "/x/", 2)]
    assert [item.session_id for item in sessions.ordered(found, "/x")] == ["c", "a", "b"]
    assert [item.session_id for item in sessions.matching(found, "Y B")] == ["b"]


def test_a_session_is_named_by_its_id_or_the_only_beginning() -> None:
    found = [listed("s1", "/x", 1), listed("s12", "/x", 1), listed("s2", "/x", 1)]
    assert sessions.named(found, "s1").session_id == "s1"
    assert sessions.named(found, "s2").session_id == "s2"
    with pytest.raises(NoSession, match="2 sessions begin"):
        sessions.named(found[:2], "s")
    with pytest.raises(NoSession, match="There is no session"):
        sessions.named(found, "x")


def test_a_session_is_one_line_that_fits() -> None:
    session = listed("a", "/home/me/a/very/long/path/to/shop", 50, "Fix the failing test")
    assert picker.describe(session, "/x", NOW, 50) == "   2 d  Fix the failing test  …y/long/path/to/shop"
    assert picker.describe(session, session.cwd, NOW, 20) == "   2 d  Fix the fai…"
    running = Listed("b", "/x", updated=NOW, running=True)
    assert picker.describe(running, "/x", NOW, 60) == "   now  running  (nothing said yet)"
