"""`/undo`, `/redo` and `/rewind`: files and words together, and what the user did stays."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.history import History, taken_back
from hermes_acp.agent.inbox import TooMany
from hermes_acp.agent.opening import Opening
from hermes_acp.agent.rewind import BadWish, Wish, wish_of
from hermes_acp.content import TextBlock
from hermes_acp.events import (
    ApprovalRequested,
    CheckpointMissed,
    CheckpointTaken,
    Notice,
    QuestionAsked,
    Rewound,
    ToolCallFinished,
    TurnEnded,
    TurnStarted,
)
from hermes_acp.llm.base import UserMessage
from hermes_acp.ops import Answer
from hermes_acp.server.messages import Json
from tests.agent.editors import Serve
from tests.agent.editors import editing as editing_with
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Question, Window, act, call, consenting, messages, serving
from tests.workspace.checkpoints.trees import git, new_repository

pytestmark = pytest.mark.slow

DONE = TurnEnded("end_turn")


def doing(words: str, *calls: dict[str, object]) -> list[dict[str, object]]:
    """What the model does when it is told these words."""
    return [
        act(*calls, when={"user": f"^{words}$"}),
        act({"text": f"did {words}"}, when={"user": f"^{words}$", "result": ""}),
    ]


def sh(command: str) -> dict[str, object]:
    return call("run_command", command=command)


def write(path: str, content: str) -> dict[str, object]:
    return call("write_file", path=path, content=content)


SCRIPT = [
    *doing("write", write("new.txt", "agent\n")),
    *doing("run", sh("echo agent >> README; mkdir -p out; echo x > out/made; rm src/main.py")),
    *doing("edit", call("edit_file", path="src/main.py", edits=[{"old": "two\n", "new": "TWO\n"}])),
    *doing("twice", write("t.txt", "one\n"), write("t.txt", "two\n")),
    *doing("ignored", write("secret.log", "agent\n")),
    act({"text": "hello"}, when={"user": "."}),
]


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "project")


def texts(folder: Path) -> dict[str, str]:
    """The user's files."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", ".hermes"} & set(path.parts)
    }


async def recorded(window: Window, turns: int = 1) -> None:
    """Wait until so many turns have said how they left the files."""

    def ends() -> bool:
        seen = [item for item in window.of(CheckpointTaken) if item.moment == "after"]
        return len(seen) + len(window.of(CheckpointMissed)) >= turns

    await window.until(ends, "the record of the turn")


async def told(window: Window, command: str) -> str:
    """Say a command: the answer."""
    assert await window.prompt(command) == DONE
    return window.texts[-1]


def said(window: Window) -> list[str]:
    """What the user said, as the model knows it."""
    return [
        block.text
        for message in messages(window.session)
        if isinstance(message, UserMessage)
        for block in message.content
        if isinstance(block, TextBlock)
    ]


async def check_replay(window: Window) -> None:
    """What the journal gives is what is there, and everything about the stream holds."""
    await window.until(lambda: window.durable[-1].seq == window.session.hub.last_seq)
    check_all(window.seen)
    check_messages(messages(window.session))
    assert Conversation(item.event for item in window.durable).messages == messages(window.session)


# --- the way there and back ----------------------------------------------------------------------


@pytest.mark.slow
async def test_files_and_words_go_back_and_come_again(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        states = [(texts(repo), messages(window.session))]
        for words in ("write", "run", "talk"):
            assert await window.prompt(words) == DONE
            states.append((texts(repo), messages(window.session)))
        for number, command in ((2, "/undo"), (0, "/undo 2"), (1, "/redo"), (3, "/redo 2"), (1, "/rewind 2")):
            await told(window, command)
            assert (texts(repo), messages(window.session)) == states[number]
        assert [event.count for event in window.of(Rewound)] == [1, 2, 1, 2, 2]
        assert git(repo, "status", "--porcelain") == b"?? new.txt\n"
        await check_replay(window)


async def test_the_answer_names_turns_and_files(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("run")
        back = await told(window, "/undo")
        assert "“run” (" in back
        assert "- `README` is as it was before\n- `out/made` is gone again\n- `src/main.py` is back" in back
        assert "- `src/main.py` is gone again" in await told(window, "/redo")
        await window.prompt("talk")
        assert "No file had to be changed." in await told(window, "/undo")


async def test_a_command_of_the_session_is_no_turn(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        for words in ("write", "/help", "/usage", "/undo", "/help"):
            await window.prompt(words)
        assert (said(window), texts(repo).get("new.txt")) == ([], None)
        assert [event.aside for event in window.of(TurnStarted)] == [False, True, True, True, True]
        await told(window, "/redo")
        assert said(window) == ["write"]


async def test_a_new_prompt_ends_the_possibility_of_a_redo(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        for words in ("write", "/undo", "talk"):
            await window.prompt(words)
        assert await told(window, "/redo") == "Nothing was taken back."
        assert said(window) == ["talk"]
        assert "new.txt" not in texts(repo)


async def test_more_turns_than_there_are_change_nothing(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        assert await told(window, "/undo") == "There is no turn that could be taken back."
        await window.prompt("write")
        assert await told(window, "/undo 2") == "Only 1 turns can be taken back: nothing was done."
        for nonsense in ("0", "-1", "all", "1 2", "'", "99999999999"):
            assert (await told(window, f"/undo {nonsense}")).startswith("Say how many turns")
        assert "new.txt" in texts(repo)
        assert window.of(Rewound) == []


@pytest.mark.parametrize(
    ("rest", "wish"),
    [
        ("", Wish(None)),
        ("3", Wish(3)),
        ("2 keep a ./b/../c 'd e'", Wish(2, ("a", "c", "d e"))),
        ("keep", Wish(None, None)),
        ("1 keep", Wish(1, None)),
    ],
)
def test_what_stands_behind_a_command_is_a_number_and_files_to_keep(rest: str, wish: Wish) -> None:
    assert wish_of(rest, "undo") == wish


def test_anything_else_is_explained() -> None:
    with pytest.raises(BadWish, match="`/redo 2`"):
        wish_of("two", "redo")


# --- what the user did ---------------------------------------------------------------------------


async def test_what_the_user_changed_since_stays(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("edit")
        await recorded(window)
        main = repo / "src/main.py"
        main.write_text(main.read_text().replace("five\n", "five\nmine\n"))
        (repo / "mine").write_text("mine")
        assert "with what you changed since" in await told(window, "/undo")
        assert main.read_text() == "one\ntwo\nthree\nfour\nfive\nmine\n"
        await told(window, "/redo")
        assert main.read_text() == "one\nTWO\nthree\nfour\nfive\nmine\n"
        assert (repo / "mine").read_text() == "mine"


@pytest.mark.slow
async def test_a_conflict_refuses_everything_and_files_can_be_kept(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("write")
        await window.prompt("run")
        await recorded(window, 2)
        (repo / "README").write_text("words\nmine\n")
        before, known = texts(repo), said(window)
        refusal = await told(window, "/undo 2")
        assert refusal.startswith("Nothing was taken back, because it would overwrite work of yours:")
        assert "- `README`: the same lines were changed since" in refusal
        assert "`/undo 2 keep PATH…`" in refusal
        assert (texts(repo), said(window), window.of(Rewound)) == (before, known, [])
        await told(window, "/undo 2 keep README")
        assert texts(repo) == {"README": "words\nmine\n", "src/main.py": "one\ntwo\nthree\nfour\nfive\n"}
        assert said(window) == []
        await told(window, "/redo 2 keep")
        assert (said(window), "new.txt" in texts(repo)) == (["write", "run"], False)


def editing(edit: Callable[[], object]) -> Callable[[Question], Answer]:
    """Let the user do something while they are asked, then consent."""

    def answer(question: Question) -> Answer | None:
        edit()
        return consenting(question)

    return answer


async def test_what_the_user_changes_while_the_agent_edits_is_not_the_turns(
    tmp_path: Path, repo: Path
) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(editing(lambda: (repo / "README").write_text("mine\n")))
        await window.prompt("edit")
        await recorded(window)
        await told(window, "/undo")
        assert texts(repo) == {"README": "mine\n", "src/main.py": "one\ntwo\nthree\nfour\nfive\n"}


async def test_what_the_user_does_between_two_edits_of_a_file_stays(tmp_path: Path, repo: Path) -> None:
    target = repo / "t.txt"
    again = call("edit_file", path="t.txt", edits=[{"old": "one\n", "new": "ONE\n"}])
    script = [
        act(write("t.txt", "one\ntwo\n"), when={"user": "^mix$"}),
        act(call("ask_user", question="Go on?", choices=["yes"]), when={"user": "mix", "result": "^Created"}),
        act(again, when={"user": "mix", "result": "yes"}),
        act({"text": "done"}, when={"user": "mix", "result": "t.txt"}),
    ]

    def answer(question: Question) -> Answer | None:
        if isinstance(question, ApprovalRequested):
            return consenting(question)
        target.write_text(target.read_text() + "mine\n")
        return Answer(question.request_id, outcome="answered", values='{"answer": "yes"}')

    async with serving(tmp_path, script) as desk:
        window = await desk.new(answer)
        await window.prompt("mix")
        assert target.read_text() == "ONE\ntwo\nmine\n"
        await told(window, "/undo")
        assert target.read_text() == "one\ntwo\nmine\n"


async def test_ignored_files_that_the_agent_wrote_go_back_too(tmp_path: Path, repo: Path) -> None:
    (repo / ".gitignore").write_text("*.log\n")
    (repo / "secret.log").write_text("mine\n")
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("ignored")
        assert (repo / "secret.log").read_text() == "agent\n"
        await told(window, "/undo")
        assert (repo / "secret.log").read_text() == "mine\n"
        await told(window, "/redo")
        assert (repo / "secret.log").read_text() == "agent\n"


# --- through editors ------------------------------------------------------------------------------


def buffered(open_files: dict[str, str]) -> dict[str, Serve]:
    """An editor that saves what it is told to write, and reads no file again that it has open."""

    async def read(params: Json) -> Json:
        path = str(params["path"])
        return {"content": open_files.get(path) or await asyncio.to_thread(Path(path).read_text)}

    async def keep(params: Json) -> Json:
        path, content = str(params["path"]), str(params["content"])
        open_files[path] = content
        await asyncio.to_thread(Path(path).write_text, content)
        return {}

    return {"fs/read_text_file": read, "fs/write_text_file": keep}


BOTH = {"readTextFile": True, "writeTextFile": True}


async def test_an_editor_shows_what_was_brought_back_and_unsaved_text_is_not_lost(
    tmp_path: Path, repo: Path
) -> None:
    path = str(repo / "src/main.py")
    open_files = {path: "one\ntwo\nunsaved\n"}
    async with (
        serving(tmp_path, SCRIPT, mode="accept_edits") as desk,
        editing_with(desk, "editor", buffered(open_files), fs=BOTH) as editor,
    ):
        await editor.new(desk)
        await editor.prompt("edit")
        assert open_files[path] == Path(path).read_text() == "one\nTWO\nunsaved\n"
        await editor.prompt("/undo")
        assert open_files[path] == Path(path).read_text() == "one\ntwo\nunsaved\n"
        await editor.prompt("/redo")
        assert open_files[path] == Path(path).read_text() == "one\nTWO\nunsaved\n"
        open_files[path] += "typed\n"
        await editor.prompt("/undo")
        assert "`src/main.py`: it has unsaved changes in the editor" in editor.text()
        assert open_files[path] == Path(path).read_text() + "typed\n"


async def test_an_editor_that_only_writes_is_given_the_text(tmp_path: Path, repo: Path) -> None:
    open_files: dict[str, str] = {}
    async with (
        serving(tmp_path, SCRIPT, mode="accept_edits") as desk,
        editing_with(desk, "editor", buffered(open_files), fs={"writeTextFile": True}) as editor,
    ):
        await editor.new(desk)
        await editor.prompt("edit")
        await editor.prompt("/undo")
        assert open_files == {str(repo / "src/main.py"): "one\ntwo\nthree\nfour\nfive\n"}


# --- when ----------------------------------------------------------------------------------------


async def test_nothing_is_taken_back_while_a_turn_runs(tmp_path: Path, repo: Path) -> None:
    script = [act({"text": "thinking"}, {"wait": 600}, when={"user": "think"}), *SCRIPT]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("write")
        turn_id = window.begin("think")
        await window.see(TurnStarted, 2)
        for command in ("/undo", "/redo", "/rewind 1"):
            with pytest.raises(TooMany, match="A turn is running"):
                window.begin(command)
        window.cancel()
        await window.end(turn_id)
        await told(window, "/undo 2")
        assert texts(repo).get("new.txt") is None


async def test_a_cancelled_turn_can_be_taken_back(tmp_path: Path, repo: Path) -> None:
    script = doing("long", sh("echo agent > README; echo ready; sleep 600"))
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        turn_id = window.begin("long")
        await window.until(lambda: (repo / "README").read_text() == "agent\n" or not window.session.busy)
        window.cancel()
        assert await window.end(turn_id) == TurnEnded("cancelled")
        await told(window, "/undo")
        assert texts(repo)["README"] == "words\n"
        assert said(window) == []


@pytest.mark.slow
async def test_everything_works_after_a_restart(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        first = await desk.new()
        for words in ("write", "run", "/undo"):
            await first.prompt(words)
        kept = texts(repo)
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.open(first.session.session_id)
        assert said(window) == ["write"]
        await told(window, "/redo")
        assert "out/made" in texts(repo)
        await told(window, "/undo")
        assert texts(repo) == kept
        await told(window, "/undo")
        assert texts(repo) == {"README": "words\n", "src/main.py": "one\ntwo\nthree\nfour\nfive\n"}
        await check_replay(window)


async def test_two_windows_see_the_same(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        other = desk.watch(window.session)
        await window.prompt("write")
        await told(other, "/undo")
        await window.see(Rewound)
        assert window.of(Rewound) == other.of(Rewound) == [Rewound(1, "undo")]
        assert window.texts == other.texts


@pytest.mark.slow
async def test_a_turn_whose_server_died_can_be_taken_back(tmp_path: Path, repo: Path) -> None:
    script = [*doing("long", sh("echo agent > README; echo ready; read x")), *SCRIPT]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        await window.prompt("write")
        window.begin("long")
        await window.until(lambda: (repo / "README").read_text() == "agent\n")
        # What is on the disk now is what is left after a power cut.
        await asyncio.to_thread(shutil.copytree, tmp_path / "home", tmp_path / "after" / "home")
        model = desk.origin.settings.model
        window.cancel()
        await window.until(lambda: not window.session.busy)
    (tmp_path / "after" / "project").mkdir()
    async with serving(tmp_path / "after", model=model) as desk:
        session = await desk.server.sessions.open(window.session.session_id, Opening(desk.origin, str(repo)))
        again = desk.watch(session)
        await session.load()
        await told(again, "/undo")
        assert (texts(repo)["README"], said(again)) == ("words\n", ["write"])
        await told(again, "/undo")
        assert "new.txt" not in texts(repo)


async def test_an_undo_whose_server_died_and_left_a_riddle_does_not_keep_the_session_shut(
    tmp_path: Path, repo: Path
) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("write")
        await recorded(window)
        window.session.hub.publish(TurnStarted("m9", (TextBlock("/undo"),), aside=True), "t9")
        await window.session.hub.flush()
    (tree,) = tmp_path.rglob("checkpoints.git/trees/*")
    (tree / "restore.json").write_text("{")
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.open(window.session.session_id)
        assert (await window.session.load())[-1].event == TurnEnded("interrupted")
        assert "restore.json is damaged" in await told(window, "/undo")
        assert (said(window), (repo / "new.txt").exists()) == (["write"], True)
        (tree / "restore.json").unlink()
        await told(window, "/undo")
        assert (said(window), (repo / "new.txt").exists()) == ([], False)


# --- where ---------------------------------------------------------------------------------------


async def test_a_folder_without_git_works_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README").write_text("words\n")
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("write")
        await window.prompt("run")
        await told(window, "/rewind 2")
        assert texts(folder) == {"README": "words\n"}


@pytest.mark.slow
async def test_a_session_in_a_worktree_takes_back_its_own_files_only(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.session.set_option("isolation", "worktree")
        here = Path(window.session.place.cwd)
        assert here != repo
        await window.prompt("write")
        assert (texts(here).get("new.txt"), texts(repo).get("new.txt")) == ("agent\n", None)
        (repo / "new.txt").write_text("mine")
        await told(window, "/undo")
        assert (texts(here).get("new.txt"), texts(repo).get("new.txt")) == (None, "mine")
        await told(window, "/redo")
        await window.session.set_option("isolation", "in_place")
        await window.prompt("run")
        await told(window, "/undo 2")
        assert texts(here).get("new.txt") is None
        assert texts(repo)["README"] == "words\n"


async def test_files_outside_of_the_tree_are_named(tmp_path: Path, repo: Path) -> None:
    outside = tmp_path / "elsewhere.txt"
    async with serving(tmp_path, doing("far", write(str(outside), "agent"), write("near", "agent"))) as desk:
        window = await desk.new()
        await window.prompt("far")
        assert f"`{outside}` is outside of `{repo}` and stays as it is." in await told(window, "/undo")
        assert (outside.exists(), (repo / "near").exists()) == (True, False)


# --- what cannot be ------------------------------------------------------------------------------


async def test_files_of_a_turn_without_a_record_stay_and_the_user_is_told(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("write")
        await recorded(window)
        (folder,) = (tmp_path / "home/data/projects").glob("*/checkpoints.git")
        folder.rename(tmp_path / "away")
        folder.write_text("in the way")
        await window.prompt("run")
        (missed,) = window.of(CheckpointMissed)
        (notice,) = window.of(Notice)
        assert notice.title == "/undo will not bring files back for this turn"
        assert missed.reason in (notice.description or "").lower().replace("no checkpoint", "No checkpoint")
        assert [outcome for outcome, _ in window.results] == ["completed", "completed"]
        folder.unlink()
        (tmp_path / "away").rename(folder)
        back = await told(window, "/undo")
        assert f"stay as they are: {missed.reason}." in back
        assert (said(window), "out/made" in texts(repo)) == (["write"], True)


async def test_an_expired_checkpoint_takes_back_the_words_and_says_so(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        await window.prompt("write")
        await recorded(window)
        (folder,) = (tmp_path / "home/data/projects").glob("*/checkpoints.git")
        for ref in git(folder, "for-each-ref", "--format=%(refname)", "refs/checkpoints").split():
            git(folder, "update-ref", "-d", ref.decode())
        assert "stay as they are: its checkpoints are no longer kept." in await told(window, "/undo")
        assert (said(window), "new.txt" in texts(repo)) == ([], True)


async def test_words_that_were_summarised_stay_and_files_go(tmp_path: Path, repo: Path) -> None:
    script = [act({"text": "in short"}, when={"system": "summarise"}), *SCRIPT]
    async with serving(tmp_path, script) as desk:
        window = await desk.new()
        for words in ("write", "/compact", "edit"):
            await window.prompt(words)
        back = await told(window, "/undo 2")
        assert "What was summarised stays in the summary" in back
        assert texts(repo) == {"README": "words\n", "src/main.py": "one\ntwo\nthree\nfour\nfive\n"}
        (summary,) = said(window)
        assert summary.endswith("in short")
        await told(window, "/redo 2")
        assert said(window) == [summary, "edit"]
        await check_replay(window)


# --- choosing ------------------------------------------------------------------------------------


async def test_rewind_alone_lists_the_turns_and_asks_which(tmp_path: Path, repo: Path) -> None:
    def answer(question: Question) -> Answer | None:
        if isinstance(question, ApprovalRequested):
            return consenting(question)
        chosen = question.fields[0].choices[1]
        return Answer(question.request_id, outcome="answered", values=f'{{"turn": "{chosen}"}}')

    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(answer)
        for words in ("talk", "write", "run"):
            await window.prompt(words)
        await told(window, "/rewind")
        (question,) = window.of(QuestionAsked)
        assert question.fields[0].choices == ("1: run", "2: write", "3: talk")
        listing = window.texts[-2]
        assert [line.split(" (")[0] for line in listing.splitlines()[2:]] == [
            "1. “run”",
            "2. “write”",
            "3. “talk”",
        ]
        assert said(window) == ["talk"]
        assert "new.txt" not in texts(repo)
        await check_replay(window)


async def test_rewind_alone_only_lists_where_nobody_can_choose(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new(None)
        assert await told(window, "/rewind") == "There is no turn that could be taken back."
        await window.prompt("talk")
        assert (await told(window, "/rewind")).splitlines()[-1].startswith("1. “talk” (")
        assert (window.of(QuestionAsked), said(window)) == ([], ["talk"])


async def test_a_choice_that_is_cancelled_or_declined_changes_nothing(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT, mode="accept_edits") as desk:
        window = await desk.new(lambda question: Answer(question.request_id, outcome="declined"))
        await window.prompt("write")
        assert await told(window, "/rewind") == "Nothing was taken back."
        window.answering = lambda _: None
        turn_id = window.begin("/rewind")
        await window.see(QuestionAsked, 2)
        window.cancel()
        assert await window.end(turn_id) == TurnEnded("cancelled")
        assert window.of(ToolCallFinished)[-1].outcome == "cancelled"
        assert (said(window), "new.txt" in texts(repo)) == (["write"], True)
        await check_replay(window)


# --- the fold ------------------------------------------------------------------------------------


async def test_the_journal_tells_which_turns_were_taken_back(tmp_path: Path, repo: Path) -> None:
    async with serving(tmp_path, SCRIPT) as desk:
        window = await desk.new()
        for words in ("one", "two", "/undo 2", "/redo", "/undo", "three", "four", "/undo"):
            await window.prompt(words)
        journal = await window.session.load()
        history = History(journal)
        assert [turn.title for turn in history.done] == ["three"]
        assert [turn.title for turn in history.undone] == ["four"]
        titles = {
            item.turn_id: item.event.content[0] for item in journal if isinstance(item.event, TurnStarted)
        }
        gone = [titles[turn_id] for turn_id in sorted(taken_back(journal), key=list(titles).index)]
        assert gone == [TextBlock("one"), TextBlock("two"), TextBlock("four")]
