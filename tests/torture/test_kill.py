"""A hundred kills at random moments lose nothing, and the check would notice if they did."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hermes_acp import config
from tests.torture import kill
from tests.torture.ledger import Json, Ledger, lost, replayed, unfinished

KILLS = "HERMES_EDITOR_TEST_KILLS"
SEED = "HERMES_EDITOR_TEST_SEED"

START: Json = {
    "sessionUpdate": "tool_call",
    "toolCallId": "c1",
    "title": "Write a.txt",
    "kind": "edit",
    "rawInput": {"path": "a.txt"},
}
END: Json = {"sessionUpdate": "tool_call_update", "toolCallId": "c1", "status": "completed"}


def chunk(text: str, message_id: str = "m1", kind: str = "agent_message_chunk") -> Json:
    content = {"type": "text", "text": text}
    return {"sessionUpdate": kind, "messageId": message_id, "content": content}


def told(*updates: Json) -> Ledger:
    ledger = Ledger()
    ledger.prompted("work 1")
    for update in updates:
        ledger.take(update)
    return ledger


USER = chunk("work 1", "u1", "user_message_chunk")


@pytest.mark.slow
async def test_no_promise_is_lost_however_often_the_agent_is_killed(tmp_path: Path) -> None:
    env = config.environment()
    kills = int(env.get(KILLS, "100"))
    seed = int(env.get(SEED, random.randrange(1_000_000)))
    report = await kill.run(kills, seed, tmp_path)
    print(report)
    assert report.problems == [], str(report)
    assert report.kills == kills
    assert report.seen["databases checked"] == kills + kill.CHAINS
    assert report.restarts
    # The kills hit what they have to hit.
    assert report.seen["turns interrupted"] > 0
    assert report.seen["turns answered"] > 0
    assert report.seen["answers kept in part"] > 0


def test_a_replay_with_everything_in_order_loses_nothing() -> None:
    known = told(chunk("Hel"), chunk("lo"), START, END)
    assert lost(known, replayed([USER, chunk("Hello"), START, END])) == []


def test_streamed_text_is_no_promise_until_something_lasting_follows() -> None:
    assert lost(told(chunk("Hello")), replayed([])) == []
    assert lost(told(chunk("Hello"), START), replayed([USER, START])) != []


def test_text_that_was_shown_long_before_the_kill_is_a_promise_as_far_as_it_came() -> None:
    known = told(START)
    for text, at in (("Hel", 1.0), ("lo", 2.0), (" you", 3.0)):
        known.take(chunk(text), at)
    known.died(3.2)
    assert known.beginnings == {("agent_message_chunk", "m1"): "Hello"}
    assert lost(known, replayed([USER, START, chunk("Hello y")])) == []
    for replay in ([USER, START], [USER, START, chunk("Hell")], [USER, START, chunk("Hello", "m2")]):
        assert lost(known, replayed(replay)) != []


def test_an_answered_turn_is_a_promise() -> None:
    known = told(chunk("Hello"))
    known.acknowledge()
    assert lost(known, replayed([USER])) != []


def test_a_call_that_is_missing_changed_or_out_of_order_is_lost() -> None:
    known = told(START, END)
    assert lost(known, replayed([USER, START, END])) == []
    for replay in ([USER, START], [USER, END, START], [USER, START, END | {"status": "failed"}]):
        assert lost(known, replayed(replay)) != []


def test_open_calls_and_broken_turns_must_be_closed() -> None:
    assert unfinished(replayed([USER, START, END, chunk("Finished 1.")])) == []
    assert unfinished(replayed([USER, START, END, chunk("*This turn was interrupted: …*")])) == []
    assert len(unfinished(replayed([USER, START]))) == 2


def test_a_damaged_database_is_noticed_and_left_as_it_is(tmp_path: Path) -> None:
    database = tmp_path / "sessions.db"
    assert kill.damaged(database) is None
    database.write_bytes(b"SQLite format 3\0" + b"x" * 4080)
    assert kill.damaged(database) == "file is not a database"
    assert database.stat().st_size == 4096


def test_an_effect_without_a_trace_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert kill.effects(tmp_path, replayed([USER])) == ["written without a trace: a.txt"]
    assert kill.effects(tmp_path, replayed([USER, START, END])) == []
    (tmp_path / "a.txt").unlink()
    assert kill.effects(tmp_path, replayed([USER, START, END])) == ["reported as written, but missing: a.txt"]
