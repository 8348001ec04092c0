"""What a window makes of updates: states and pieces, compared as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from hermes_acp.cli.attach import fold
from hermes_acp.cli.attach.pieces import (
    AgentText,
    Card,
    Change,
    Command,
    Ended,
    Note,
    Option,
    Piece,
    Plan,
    Shown,
    Step,
    Thought,
    Usage,
    UserText,
    Value,
)
from hermes_acp.cli.attach.state import Growing, Queued, State

LIVE = State(loading=False)
OPTION = {
    "id": "mode",
    "category": "mode",
    "currentValue": "ask",
    "options": [{"value": "ask", "name": "Ask", "description": "Ask first"}],
}


def chunk(text: str, kind: str = "agent_message", message: str = "m1", **more: Any) -> dict[str, Any]:
    content = {"type": "text", "text": text}
    return {"sessionUpdate": f"{kind}_chunk", "content": content, "messageId": message, **more}


def call(**members: Any) -> dict[str, Any]:
    return {"sessionUpdate": "tool_call_update", "toolCallId": "c1", **members}


def ended(reason: str = "end_turn", **more: str) -> dict[str, Any]:
    meta = {"hermes": {"stopReason": reason, **more}}
    return {"sessionUpdate": "session_info_update", "updatedAt": "2026-01-01T00:00:00Z", "_meta": meta}


def played(state: State, updates: Sequence[dict[str, Any]]) -> tuple[State, list[Piece]]:
    pieces: list[Piece] = []
    for update in updates:
        state, more = fold.updated(state, update)
        pieces += more
    return state, pieces


def test_text_grows_and_is_given_out_block_by_block() -> None:
    state, pieces = played(LIVE, [chunk("One"), chunk(" and.\n\nTwo"), chunk(" too.")])
    assert pieces == [AgentText("One and.")]
    assert state.growing == Growing("agent", "m1", "Two too.", begun=True)
    state, pieces = played(state, [ended()])
    assert pieces == [AgentText("Two too.", first=False)]
    assert state == State(loading=False, end_told=True)


def test_another_message_begins_anew_and_a_thought_is_kept() -> None:
    state, pieces = played(LIVE, [chunk("Hm.", "agent_thought"), chunk("A", message="m2"), ended()])
    assert pieces == [Thought("Hm."), AgentText("A")]
    assert state.thoughts == (Thought("Hm."),)


def test_a_message_of_another_window_begins_a_turn_under_its_name() -> None:
    meta = {"hermes": {"client": "zed-1"}}
    state, _ = played(LIVE, [chunk("do it", "user_message", _meta=meta)])
    assert (state.working, state.growing) == (True, Growing("user", "m1", "do it", window="zed-1"))
    assert played(state, [chunk("Yes", message="m2")])[1] == [UserText("do it", here=False, window="zed-1")]


def test_the_past_is_read_without_turns() -> None:
    past = [chunk("do it", "user_message"), chunk("Done.", message="m2")]
    state, pieces = played(State(), past)
    state, more = fold.opened(state, {"configOptions": [OPTION]})
    assert [*pieces, *more] == [UserText("do it"), AgentText("Done.")]
    values = (Value("ask", "Ask", "Ask first"),)
    assert state == State(loading=False, options=(Option("mode", "mode", "ask", values),))


def test_a_call_is_a_card_that_is_given_out_at_its_end() -> None:
    state, pieces = played(
        LIVE,
        [
            chunk("I look."),
            call(title="pytest", kind="execute", status="pending"),
            call(status="in_progress", _meta={"terminal_output": {"terminal_id": "c1", "data": "a\n"}}),
            call(_meta={"terminal_output": {"terminal_id": "c1", "data": "b\n"}}),
        ],
    )
    card = Card("c1", "pytest", "execute", "in_progress", output="a\nb\n")
    assert (pieces, state.cards) == ([AgentText("I look.")], (card,))
    end = call(status="failed", rawOutput={"outcome": "failed", "exitCode": 2})
    state, pieces = played(state, [end])
    assert state.cards == ()
    assert pieces == [
        Card("c1", "pytest", "execute", "failed", output="a\nb\n", outcome="failed", exit_code=2)
    ]


def test_changes_and_fenced_text_of_a_call_are_read() -> None:
    content = [
        {"type": "diff", "path": "/p/a", "oldText": None, "newText": "x"},
        {"type": "content", "content": {"type": "text", "text": "```sh\nls\n```"}},
        {"type": "terminal", "terminalId": "t"},
    ]
    state, _ = played(LIVE, [call(title="Edit", content=content)])
    assert state.cards == (Card("c1", "Edit", content=(Change("/p/a", None, "x"), Shown("ls"))),)


def test_the_end_of_a_long_output_is_kept() -> None:
    data = "x" * fold.OUTPUT_CHARS + "end"
    state, _ = played(LIVE, [call(_meta={"terminal_output": {"data": data}})])
    assert len(state.cards[0].output) == fold.OUTPUT_CHARS
    assert state.cards[0].output.endswith("end")


def test_the_plan_is_given_out_once_when_the_turn_ends() -> None:
    entries = [{"content": "look", "status": "completed"}, {"content": "fix", "status": "odd"}]
    state, pieces = played(LIVE, [{"sessionUpdate": "plan", "entries": entries}])
    plan = Plan((Step("look", "completed"), Step("fix", "pending")))
    assert (pieces, state.plan, state.plan_told) == ([], plan, False)
    assert played(state, [ended(), ended()])[1] == [plan]


def test_a_prompt_of_this_window_is_shown_at_once_or_waits_for_its_turn() -> None:
    state, pieces = fold.prompted(LIVE, 1, "first")
    assert pieces == (UserText("first"),)
    state, pieces = fold.prompted(state, 2, "second")
    assert (pieces, state.queue) == ((), (Queued(2, UserText("second")),))
    state, first = played(state, [chunk("A"), ended()])
    state, told = fold.answered(state, 1, Ended("end_turn"))
    state, second = played(state, [chunk("B", message="m2")])
    assert (first, told, second, state.queue) == ([AgentText("A")], (), [UserText("second")], ())
    state, told = fold.answered(state, 2, Ended("end_turn"))
    assert (told, state.busy) == ((AgentText("B"),), False)


def test_a_prompt_that_never_ran_is_given_back() -> None:
    state, _ = fold.prompted(LIVE, 1, "first")
    state, _ = fold.prompted(state, 2, "second")
    state, pieces = fold.answered(state, 2, Ended("cancelled"))
    assert (pieces, state.queue) == ((Note("Not sent: second"),), ())


def test_a_queued_prompt_that_failed_at_once_is_shown_with_its_error() -> None:
    state, _ = fold.prompted(LIVE, 1, "first")
    state, _ = fold.prompted(state, 2, "second")
    state, _ = fold.answered(state, 1, Ended("end_turn"))
    _, pieces = fold.answered(state, 2, Ended("error", "No model."))
    assert pieces == (UserText("second"), Ended("error", "No model."))


@pytest.mark.parametrize("here", [True, False])
def test_the_end_of_a_turn_is_told_once_and_who_cancelled_it_when_it_was_another(here: bool) -> None:
    state, _ = fold.prompted(LIVE, 1, "go")
    state = fold.stopped(state) if here else state
    state, pieces = played(state, [ended("cancelled", cancelledBy="zed-1")])
    assert pieces == [Ended("cancelled", window="" if here else "zed-1")]
    assert fold.answered(state, 1, Ended("cancelled")) == (state, ())


def test_calls_that_nobody_finished_are_given_out_as_they_are() -> None:
    state, _ = played(LIVE, [call(title="run")])
    state, pieces = played(state, [ended("error", error="The model fell over.")])
    assert pieces == [Card("c1", "run"), Ended("error", "The model fell over.")]
    assert (state.cards, state.busy) == ((), False)


def test_the_answer_of_another_window_is_told_and_changes_no_card() -> None:
    state, _ = played(LIVE, [call(title="run")])
    meta = {"hermes": {"resolvedBy": "zed-1", "optionId": "allow_once"}}
    after, pieces = played(state, [call(_meta=meta)])
    assert (after, pieces) == (state, [Note("zed-1: allow once")])


def test_what_is_set_is_remembered() -> None:
    command = {"name": "compact", "description": "Make room", "input": {"hint": "what matters"}}
    state, pieces = played(
        LIVE,
        [
            {"sessionUpdate": "available_commands_update", "availableCommands": [command]},
            {"sessionUpdate": "config_option_update", "configOptions": [OPTION]},
            {"sessionUpdate": "current_mode_update", "currentModeId": "plan"},
            {"sessionUpdate": "usage_update", "used": 5, "size": 10, "cost": {"amount": 0.5}},
            {"sessionUpdate": "session_info_update", "title": "The title"},
            {"sessionUpdate": "something_new", "x": 1},
        ],
    )
    values = (Value("ask", "Ask", "Ask first"),)
    assert pieces == []
    assert state == State(
        title="The title",
        loading=False,
        options=(Option("mode", "mode", "plan", values),),
        commands=(Command("compact", "Make room", "what matters"),),
        usage=Usage(5, 10, 0.5),
    )


@pytest.mark.parametrize(
    "update",
    [
        {},
        {"sessionUpdate": 7},
        chunk("x") | {"content": None},
        {"sessionUpdate": "tool_call", "toolCallId": 3, "content": [1, {}], "status": []},
        {"sessionUpdate": "plan", "entries": [None, {}]},
        {"sessionUpdate": "config_option_update", "configOptions": {"a": 1}},
        {"sessionUpdate": "usage_update", "used": "many"},
        {"sessionUpdate": "notice"},
        {"sessionUpdate": "compaction_update", "status": 3},
    ],
)
def test_odd_updates_break_nothing(update: dict[str, Any]) -> None:
    state, _ = fold.updated(LIVE, update)
    fold.updated(state, chunk("still here"))


def test_no_text_can_reach_the_terminal_raw() -> None:
    nasty = "a\x1b[2Jb\x07\x9bc"
    _, pieces = played(LIVE, [chunk(nasty), call(title=nasty, kind="read", status="completed")])
    assert pieces[0] == AgentText("abc")
    assert isinstance(pieces[1], Card)
    assert pieces[1].title.isprintable()
