"""Pieces as text for a terminal."""

from __future__ import annotations

import asyncio

import pytest

from hermes_acp.cli.attach import diffs, live
from hermes_acp.cli.attach.diffs import Line
from hermes_acp.cli.attach.look import Look
from hermes_acp.cli.attach.paint import paint
from hermes_acp.cli.attach.pending import Pending
from hermes_acp.cli.attach.pieces import (
    AgentText,
    Asked,
    Card,
    Change,
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
from hermes_acp.cli.attach.questions import Choice, Permission
from hermes_acp.cli.attach.state import Growing, Queued, State

PLAIN = Look(styles=False, colours=False, signs=False)
LONG = "".join(f"line {number}\n" for number in range(1, 31))


@pytest.mark.parametrize(
    ("piece", "text"),
    [
        (UserText("go"), "\n> go\n"),
        (UserText("go", here=False, window="zed-1"), "\n> [zed-1] go\n"),
        (UserText("go", steered=True), "\n> (meanwhile) go\n"),
        (AgentText("# A\n\n- *b*\n- `c`"), "\nA\n\n • b\n • c\n"),
        (AgentText("A ![b](https://e.org/?q=c) d"), "\nA ![b](https://e.org/?q=c) d\n"),
        (Thought("one\ntwo\nthree"), "- one (+2 lines, Ctrl-T)\n"),
        (Card("c", "Read a", "read", "completed", (Shown("x\ny"),)), "+ Read a (2 lines)\n"),
        (Card("c", "Read", "read", "failed", (Shown("no"),), "", "refused"), "x Read (refused)\n  | no\n"),
        (Card("c", "ls", "execute", "failed", output="a\n", exit_code=2), "x ls (exit code 2)\n  | a\n"),
        (Plan((Step("a", "completed"), Step("b", "in_progress"))), "\n[x] a\n[>] b\n"),
        (Note("careful", "warning"), "\ncareful\n"),
        (Ended("cancelled", window="zed-1"), "\nCancelled by zed-1.\n"),
        (Ended("error", "It broke."), "\nIt broke.\n"),
    ],
)  # fmt: skip
def test_each_piece_has_its_form(piece: Piece, text: str) -> None:
    assert paint([piece], PLAIN, 60) == text


def test_a_change_is_a_diff_with_line_numbers() -> None:
    change = Change("/p/a.py", "a\nb\nc\n", "a\nB\nc\nd\n")
    assert paint([Card("c", "Edit a.py", "edit", "completed", (change,))], PLAIN, 60) == (
        "+ Edit a.py\n  /p/a.py (+2 -1)\n  1   a\n  2 - b\n  2 + B\n  3   c\n  4 + d\n"
    )


def test_long_output_is_folded_to_its_end_and_shown_whole_on_request() -> None:
    card = Card("c", "make", "execute", "completed", output=LONG)
    folded = paint([card], PLAIN, 60).splitlines()
    assert folded[:3] == ["+ make", "  | … 20 earlier lines; /show prints all of it", "  | line 21"]
    assert len(paint([card], PLAIN, 60, full=True).splitlines()) == 31


def test_a_request_for_permission_hides_nothing() -> None:
    command = "printf " + "x" * 200 + "; rm -rf /tmp/here"
    text = paint([Asked("Run a command", "It writes.", (Shown(command), Change("/a", LONG, "")))], PLAIN, 40)
    assert command.replace(" ", "") in text.replace("\n", "").replace(" ", "")
    assert all(f"- line {number}\n" in text for number in range(1, 31))
    assert "NOT shown" in paint([Asked("?", "", (Shown("x\n" * 3000),))], PLAIN, 60)


def test_no_line_is_wider_than_the_terminal() -> None:
    pieces = [UserText("word " * 50), AgentText("word " * 50), Card("c", "t" * 90, output="o" * 90)]
    text = paint([*pieces, Note("n" * 90), Asked("a" * 90, "", (Shown("s" * 90),))], PLAIN, 40)
    assert max(map(len, text.splitlines())) <= 40


def test_colours_are_left_out_and_styles_too_where_there_are_none() -> None:
    pieces = [AgentText("**a** `b`\n\n```python\ndef f(): pass\n```"), Ended("cancelled")]
    assert "\x1b[31m" in paint(pieces, Look(), 60)
    assert not any(f"\x1b[3{code}m" in paint(pieces, Look(colours=False), 60) for code in range(8))
    assert "\x1b" not in paint(pieces, PLAIN, 60)


def test_a_diff_of_a_huge_change_is_bounded_and_still_exact() -> None:
    size = diffs.COMPARED
    change = Change("/a", "old\n" * size, "new\n" * size)
    found = diffs.lines(change)
    assert (found[0], found[-1]) == (Line("removed", 1, "old"), Line("added", size, "new"))
    assert diffs.counts(change) == (size, size)


def test_unchanged_lines_between_are_a_gap() -> None:
    old = [str(number) for number in range(20)]
    new = ["first", *old[1:-1], "last"]
    found = diffs.lines(Change("/a", "\n".join(old), "\n".join(new)))
    assert [line.kind for line in found if line.kind != "same"] == [
        "removed", "added", "gap", "removed", "added",
    ]  # fmt: skip
    assert found[5] == Line("gap", 0, "12 unchanged lines")


def test_what_is_live_is_cut_to_the_rows_there_are() -> None:
    state = State(
        loading=False,
        working=True,
        growing=Growing("agent", "m", "text"),
        cards=(Card("c", "make", "execute", "in_progress", output=LONG),),
        queue=(Queued(1, UserText("next")),),
    )
    shown = live.live(state, PLAIN, 60, 5).splitlines()
    assert shown == ["  | line 27", "  | line 28", "  | line 29", "  | line 30", "> next (waits)"]
    assert live.live(state, PLAIN, 60, 0) == ""


async def test_the_choices_are_listed_with_their_keys() -> None:
    choices = (Choice("o", "Allow once", ("1", "y"), allows=True), Choice("n", "Reject", ("2", "n")))
    pending = Pending(Permission(Asked("?", "", ()), choices), asyncio.get_running_loop().create_future())
    assert live.asking(pending, 1, 2, PLAIN, 100).splitlines() == [
        "  1 y  Allow once",
        "> 2 n  Reject",
        f"{live.HOW_TO_CHOOSE} (2 more wait)",
    ]


def test_the_toolbar_says_mode_model_context_and_title_as_far_as_there_is_room() -> None:
    options = (
        Option("mode", "mode", "ask", (Value("ask", "Ask"),)),
        Option("model", "model", "openai/gpt", ()),
    )
    state = State(title="Fix the test", options=options, usage=Usage(50_000, 200_000, 0.125))
    assert live.toolbar(state, PLAIN, 80) == "ask - gpt - 25 % of 200k, $0.12 - Fix the test"
    assert live.toolbar(state, PLAIN, 20) == "ask - gpt - 25 % o…"
