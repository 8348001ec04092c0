"""`hermes-editor sessions list` and `show` on a real database."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.sessions_home import Home, row, turn

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_where_no_session_was_ever_held_nothing_is_made(home: Home, capsys: Captured) -> None:
    assert home.run("list") == 0
    assert home.run() == 0
    assert home.run("list", "--json") == 0
    assert capsys.readouterr().out == "There are no sessions yet.\n" * 2 + "[]\n"
    assert home.run("search", "word") == 0
    assert capsys.readouterr().out == "No session has all of these words.\n"
    assert [home.run(action, "s1") for action in ("show", "export", "delete")] == [1, 1, 1]
    assert capsys.readouterr().err.count("There is no session 's1'") == 3
    assert list(home.path.iterdir()) == []


def test_a_database_that_is_just_being_made_has_no_sessions(home: Home, capsys: Captured) -> None:
    home.database.parent.mkdir()
    home.database.touch()
    assert home.run("list") == 0
    assert capsys.readouterr().out == "There are no sessions yet.\n"


def test_the_list_is_newest_first_bounded_and_goes_over_pages(home: Home, capsys: Captured) -> None:
    home.hold(*(row(number, f"Title {number}\x1b[2J") for number in range(60)))
    assert home.run("list", "--limit", "55", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [item["session_id"] for item in told] == [f"s{number}" for number in range(59, 4, -1)]
    assert home.run("list", "--limit", "2") == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["ID", "s59", "s58"]
    assert "\x1b" not in shown[1]
    assert home.run("list", "--cwd", "/elsewhere", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_a_turn_whose_server_died_is_not_shown_as_running(home: Home, capsys: Captured) -> None:
    home.hold(row(1), said=turn()[:-1])
    home.claims.mkdir()
    (home.claims / "s1").write_text("1")
    assert home.run("list", "--json") == 0
    assert [item["running"] for item in json.loads(capsys.readouterr().out)] == [False]


def test_a_conversation_is_shown_as_markdown_or_as_its_events(home: Home, capsys: Captured) -> None:
    home.hold(row(1))
    assert home.run("show", "s1") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("# A title\n\ns1, started 1970-01-12 ")
    assert shown.endswith("## You\n\nHello\n\n## Agent\n\nHello yourself\n")
    assert home.run("show", "s1", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["session"]["title"] == "A title"
    assert [item["event"]["type"] for item in told["events"]] == [
        "session_started",
        "turn_started",
        "message_completed",
        "turn_ended",
    ]


def test_the_beginning_of_an_id_is_enough_when_it_fits_one_session(home: Home, capsys: Captured) -> None:
    home.hold(row(1), row(2), row(21), row(3))
    assert home.run("show", "s3") == 0
    assert capsys.readouterr().out.startswith("# A title\n\ns3, ")
    # A whole id is meant as one, though a longer one begins with it.
    assert home.run("show", "s2") == 0
    assert capsys.readouterr().out.startswith("# A title\n\ns2, ")
    assert home.run("show", "s") == 1
    several = capsys.readouterr().err.splitlines()
    assert several[0] == "4 sessions begin with 's'. Type more of the id:"
    assert [line.split()[0] for line in several[1:]] == ["s21", "s3", "s2", "s1"]


def test_of_many_sessions_that_begin_alike_some_are_named(home: Home, capsys: Captured) -> None:
    home.hold(*(row(number) for number in range(12)))
    assert home.run("show", "s") == 1
    several = capsys.readouterr().err.splitlines()
    assert several[0].startswith("More than 10 sessions begin with 's'.")
    assert len(several) == 11


@pytest.mark.parametrize("typed", ["", "%", "_1", "s1 ", "../../s1", "S1", "\udcff", "s1\0", "🙂" * 10_000])
def test_a_strange_id_is_only_unknown(home: Home, capsys: Captured, typed: str) -> None:
    home.hold(row(1))
    assert home.run("show", typed) == 1
    told = capsys.readouterr().err
    assert told.startswith("There is no session ") and len(told) < 200


def test_reading_leaves_the_files_of_the_database_as_they_are(home: Home, capsys: Captured) -> None:
    home.hold(row(1))
    before = home.database.read_bytes()
    for words in (["list"], ["show", "s1"], ["search", "hello"], ["export", "s1"]):
        assert home.run(*words) == 0
    assert home.database.read_bytes() == before


def test_a_damaged_database_is_a_sentence(home: Home, capsys: Captured) -> None:
    home.database.parent.mkdir()
    home.database.write_bytes(b"not a database" * 1000)
    assert home.run("list") == 1
    assert "is damaged" in capsys.readouterr().err
