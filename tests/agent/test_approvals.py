"""Permissions and questions: asked, answered, learned, revoked; a no is a no, and silence is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.content import Diff
from hermes_acp.events import (
    ApprovalRequested,
    ApprovalResolved,
    MessageCompleted,
    QuestionAnswered,
    QuestionAsked,
    ToolCallFinished,
    TurnEnded,
)
from hermes_acp.ops import Answer
from hermes_acp.storage.database import Database
from hermes_acp.storage.rules import Rules
from tests.agent.server import Desk, act, call, choosing, holding, say, serving

pytestmark = pytest.mark.programs

DONE = TurnEnded("end_turn")
WRITES = [
    act(call("write_file", path=f"{name}.txt", content=name), when={"user": f"write {name}"})
    for name in "abc"
]
RUNS = act(call("run_command", command="echo hi > said.txt"), when={"user": "run"})
TESTS = [
    act(call("run_command", command=command), when={"user": name})
    for name, command in (
        ("make", "make -s test"),
        ("both", "make -s test && mkdir -p out"),
        ("more", "make -s test; touch evil; rm -f x"),
    )
]
AFTER = act({"text": "done"}, when={"result": ""})


def files(desk: Desk) -> list[str]:
    return sorted(path.name for path in desk.folder.iterdir() if path.name != ".hermes")


async def test_a_permission_shows_exactly_what_will_happen(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new()
        await window.prompt("write a")
        (question,) = window.of(ApprovalRequested)
        path = str(desk.folder / "a.txt")
        assert question.shown == (Diff(path, "a"),)
        assert [item.option_id for item in question.choices] == [
            "allow_once",
            "allow_session",
            "allow_always",
            "reject_once",
            "reject_always",
        ]
        assert window.of(ApprovalResolved) == [
            ApprovalResolved(question.request_id, question.call_id, "allow_once", "test")
        ]
        assert files(desk) == ["a.txt"]


@pytest.mark.parametrize(
    ("choice", "asked", "made"),
    [
        ("allow_once", 2, ["a.txt", "b.txt"]),
        ("allow_session", 1, ["a.txt", "b.txt"]),
        ("allow_always", 1, ["a.txt", "b.txt"]),
        ("reject_once", 2, []),
        ("reject_always", 1, []),
        ("made_up", 2, []),
    ],
)
async def test_an_answer_has_its_effect_on_the_next_call(
    tmp_path: Path, choice: str, asked: int, made: list[str]
) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new(choosing(choice))
        assert await window.prompt("write a") == DONE
        assert await window.prompt("write b") == DONE
        assert len(window.of(ApprovalRequested)) == asked
        assert files(desk) == made


async def test_rules_reach_as_far_as_their_choice_said(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, RUNS, AFTER]) as desk:
        first = await desk.new(choosing("allow_session"))
        await first.prompt("write a")
        second = await desk.new(choosing("allow_always"))
        await second.prompt("write b")
        third = await desk.new(choosing("reject_once"))
        await third.prompt("write c")
        await third.prompt("run")
        assert [len(item.of(ApprovalRequested)) for item in (first, second, third)] == [1, 1, 1]
        assert files(desk) == ["a.txt", "b.txt", "c.txt"]
        assert third.results[-1][0] == "refused"


async def test_a_revoked_rule_stops_working_at_the_next_call(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new(choosing("allow_always"))
        await window.prompt("write a")
        # As `hermes-editor policy revoke` does it, from another process.
        database = await Database.open(desk.database)
        (rule,) = await Rules(database).list_all()
        assert await Rules(database).revoke(rule.rule_id)
        await database.close()
        window.answering = choosing("reject_once")
        await window.prompt("write b")
        assert files(desk) == ["a.txt"]


async def test_an_answer_about_a_command_covers_its_like_in_each_part(tmp_path: Path) -> None:
    async with serving(tmp_path, [*TESTS, AFTER]) as desk:
        (desk.folder / "Makefile").write_text("test:\n\t@echo tested\n")
        window = await desk.new(choosing("allow_always"))
        await window.prompt("make")
        await window.prompt("both")
        await window.prompt("both")
        offered = [question.choices[2].name for question in window.of(ApprovalRequested)]
        assert offered == [
            "Always allow `make test …` in this project",
            "Always allow `mkdir …` in this project",
        ]
        window.answering = choosing("reject_once")
        await window.prompt("more")
        assert len(window.of(ApprovalRequested)) == 3
        assert not (desk.folder / "evil").exists()
        (desk.folder / "Makefile").write_text("test:\n\t@touch evil\n")
        await window.prompt("make")
        assert "`Makefile` changed since then." in window.of(ApprovalRequested)[-1].reason
        assert not (desk.folder / "evil").exists()


async def test_a_project_file_can_forbid_and_never_allow(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, RUNS, AFTER]) as desk:
        (desk.folder / ".hermes").mkdir(exist_ok=True)
        (desk.folder / ".hermes" / "config.toml").write_text(
            '[[rules]]\ndecision = "deny"\npath = "a.txt"\n[[rules]]\ndecision = "allow"\ncommand = "echo"\n'
        )
        window = await desk.new(choosing("reject_once"))
        await window.session.set_option("mode", "accept_edits")
        await window.prompt("write a")
        await window.prompt("write b")
        await window.prompt("run")
        assert files(desk) == ["b.txt"]
        assert len(window.of(ApprovalRequested)) == 1
        assert ".hermes/config.toml (rule 1) says: never allow edits of `a.txt`." in window.results[0][1]


async def test_the_model_can_tell_a_refusal_from_silence_and_from_a_rule(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new(choosing("reject_always"))
        await window.prompt("write a")
        await window.prompt("write b")
        window.leave()
        nobody = desk.watch((await desk.new(None)).session, None)
        await nobody.prompt("write c")
        (_, refused), (_, forbidden) = window.results
        assert refused.startswith("The user refused this.")
        assert forbidden.startswith("A rule of the user says: never allow edits in this project.")
        assert [outcome for outcome, _ in window.results] == ["refused", "refused"]
        assert nobody.results[0] == ("refused", forbidden)


async def test_with_nobody_there_a_permission_is_not_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new(None)
        assert await window.prompt("write a") == DONE
        ((outcome, text),) = window.results
        assert (outcome, "The user did not refuse it" in text) == ("refused", True)
        (resolved,) = window.of(ApprovalResolved)
        assert resolved.option_id is None
        assert files(desk) == []


async def test_modes_decide_from_the_next_effect_on(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, RUNS, AFTER]) as desk:
        window = await desk.new(choosing("reject_once"))
        await window.session.set_option("mode", "accept_edits")
        await window.prompt("write a")
        assert window.of(ApprovalRequested) == []
        await window.prompt("run")
        assert len(window.of(ApprovalRequested)) == 1
        await window.session.set_option("mode", "plan")
        await window.prompt("write b")
        assert len(window.of(ApprovalRequested)) == 1
        assert "plan mode" in window.results[-1][1]
        assert files(desk) == ["a.txt"]


async def test_the_mode_of_a_session_survives_its_server(tmp_path: Path) -> None:
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        window = await desk.new()
        await window.session.set_option("mode", "plan")
    async with serving(tmp_path, [*WRITES, AFTER]) as desk:
        again = await desk.open(window.session.session_id)
        await again.prompt("write a")
        assert files(desk) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer("", outcome="answered", values='{"answer": "red"}'), "The user answered: red"),
        (Answer("", outcome="declined"), "declined to answer"),
        (Answer("", outcome="unanswered"), "Nobody was there to answer; the user did not decline."),
        (Answer("", outcome="answered", values="{}"), "The user sent an empty answer"),
    ],
)
async def test_the_agent_can_ask_and_hears_what_was_answered(
    tmp_path: Path, answer: Answer, told: str
) -> None:
    script = [act(call("ask_user", question="Which colour?", choices=["red", "blue"])), say("ok")]
    async with serving(tmp_path, script) as desk:
        window = await desk.new(holding)
        turn_id = window.begin("ask me")
        question = await window.see(QuestionAsked)
        assert (question.message, question.fields[0].choices) == ("Which colour?", ("red", "blue"))
        sent = Answer(question.request_id, outcome=answer.outcome, values=answer.values, client="me")
        assert window.session.submit(sent)
        assert not window.session.submit(sent)
        assert await window.end(turn_id) == DONE
        assert told in window.results[0][1]
        whose = "me" if sent.outcome != "unanswered" else ""
        assert window.of(QuestionAnswered) == [
            QuestionAnswered(question.request_id, question.call_id, sent.outcome, sent.values, whose)
        ]


async def test_answers_to_nothing_are_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, [say("x")]) as desk:
        window = await desk.new()
        assert not window.session.submit(Answer("r-unknown", "allow_once"))
        await window.prompt("hi")
        assert not window.session.submit(Answer("", "allow_once"))


async def test_the_question_of_every_reading_call_is_answered_by_itself(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("one", "two", "three"):
        (outside / name).write_text(name)
    script = [
        act(*(call("read_file", path=str(outside / name)) for name in ("one", "two", "three"))),
        say("ok"),
    ]
    answers = iter(["allow_once", "reject_once", "allow_once"])
    async with serving(tmp_path, script) as desk:
        window = await desk.new(lambda question: Answer(question.request_id, next(answers)))
        assert await window.prompt("read") == DONE
        outcomes = sorted(item.outcome for item in window.of(ToolCallFinished))
        assert outcomes == ["completed", "completed", "refused"]
        assert len(window.of(MessageCompleted)) == 2
