"""Whatever happens in whatever order: no text of the user is lost, and the journal gives what is there."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.agent.conversation import Conversation
from hermes_acp.agent.history import History
from hermes_acp.content import TextBlock
from hermes_acp.events import CheckpointMissed, Rewound
from hermes_acp.llm.base import UserMessage
from tests.agent.invariants import check_all, check_messages
from tests.agent.server import Desk, Window, act, call, messages, serving
from tests.properties import FILES, MIDDLE, bounded
from tests.workspace.checkpoints.trees import git, new_repository


@dataclass(frozen=True)
class Do:
    """One thing that happens; `file` and `number` matter to some."""

    what: Literal["user", "edit", "command", "make", "talk", "undo", "redo", "rewind", "reopen"]
    file: str
    number: int


THINGS = st.lists(
    st.builds(
        Do,
        st.sampled_from(
            ["user", "user", "edit", "command", "make", "talk", "undo", "undo", "redo", "rewind", "reopen"]
        ),
        st.sampled_from(FILES),
        st.integers(1, 3),
    ),
    min_size=3,
    max_size=14,
)


def script() -> list[dict[str, object]]:
    """The agent adds a line of its own at the end of a file, each time the same way."""
    answers: list[dict[str, object]] = []
    for file in FILES:
        edit = call("edit_file", path=file, edits=[{"old": "line 7\n", "new": "line 7\nagent edit\n"}])
        shell = call("run_command", command=f"echo 'agent command' >> {file}")
        made = call("write_file", path=f"{file}.made", content="agent\n")
        for name, step in (("edit", edit), ("command", shell), ("make", made)):
            answers.append(act(step, when={"user": f"^{name} {file} "}))
    return [*answers, act({"text": "ok"}, when={"result": ""}), act({"text": "hm"}, when={"user": "."})]


@dataclass
class World:
    """A session at work, and what the user wrote."""

    desk: Desk
    window: Window
    root: Path
    numbers: Iterator[int] = field(default_factory=count)
    mine: list[str] = field(default_factory=list)

    async def do(self, thing: Do) -> None:
        match thing.what:
            case "user":
                await self.recorded()
                line = f"user {next(self.numbers)}\n"
                path = self.root / thing.file
                text = path.read_text()
                path.write_text(text + line if thing.number == 1 else line + text)
                self.mine.append(line)
            case "edit" | "command" | "make" | "talk":
                await self.window.prompt(f"{thing.what} {thing.file} {next(self.numbers)}")
            case "undo" | "redo" | "rewind":
                await self.rewind(thing)
            case "reopen":
                await self.desk.server.sessions.close(self.window.session.session_id)
                self.window = await self.desk.open(self.window.session.session_id)

    async def rewind(self, thing: Do) -> None:
        """Nothing at all happens, or it happens to files and words."""
        await self.recorded()
        before, known = self.files(), self.said()
        rewound = len(self.window.of(Rewound))
        await self.window.prompt(f"/{thing.what} {thing.number}")
        if len(self.window.of(Rewound)) == rewound:
            assert (self.files(), self.said()) == (before, known)
        else:
            change = -thing.number if thing.what != "redo" else thing.number
            assert len(self.said()) == len(known) + change

    async def recorded(self) -> None:
        """The user is not so quick that they could change a file before the turn's end was recorded."""

        # Nobody is told of a turn that changed nothing; there is no public way to see that.
        await self.window.session._parts.recording.settled()

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and ".git" not in path.parts
        }

    def said(self) -> list[str]:
        return [
            block.text
            for message in messages(self.window.session)
            if isinstance(message, UserMessage)
            for block in message.content
            if isinstance(block, TextBlock)
        ]

    async def check(self) -> None:
        everything = "".join(self.files().values())
        assert all(line in everything for line in self.mine)
        last = self.window.session.hub.last_seq
        await self.window.until(lambda: [item.seq for item in self.window.durable[-1:]] == [last])
        journal = self.window.durable
        check_all(journal)
        check_messages(messages(self.window.session))
        assert Conversation(item.event for item in journal).messages == messages(self.window.session)
        assert [turn.title for turn in History(journal).done] == [text[:60] for text in self.said()]
        assert not any(isinstance(item.event, CheckpointMissed) for item in journal)


async def play(things: list[Do]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = new_repository(Path(folder) / "project")
        for file in FILES:
            (root / file).parent.mkdir(exist_ok=True)
            (root / file).write_text(MIDDLE)
        git(root, "add", ".")
        git(root, "commit", "-q", "-m", "Files")
        index = (root / ".git/index").read_bytes()
        async with serving(Path(folder), script()) as desk:
            world = World(desk, await desk.new(), root)
            for thing in things:
                await world.do(thing)
                await world.check()
        assert (root / ".git/index").read_bytes() == index
        git(root, "fsck", "--strict")


@pytest.mark.slow
@bounded(12)
@given(THINGS)
def test_the_users_text_is_never_lost_and_files_and_words_go_together(things: list[Do]) -> None:
    asyncio.run(play(things))
