"""Rules on the disk: kept, listed where they hold, ended with their session, revoked for good."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_acp.policy.rules.rules import Origin, Rule
from hermes_acp.storage import schema
from hermes_acp.storage.database import Database
from hermes_acp.storage.rules import Rules
from hermes_acp.storage.sessions import SessionRow, SessionTable

PROJECT = Rule("r1", "allow", "execute", "pytest -q", "/p", "project", 1.0, Origin("/p", "s1", "Zed", "Run"))
SESSION = Rule("r2", "allow", "write", "", "", "session", 2.0, Origin("/p", "s1", "", ""))
OTHER_SESSION = Rule("r3", "allow", "write", "", "", "session", 3.0, Origin("/p", "s2", "", ""))
OTHER_PROJECT = Rule("r4", "deny", "mcp", "db__x", "", "project", 4.0, Origin("/q", "s3", "", "é\n`"))
ALL = [PROJECT, SESSION, OTHER_SESSION, OTHER_PROJECT]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "x.db")
    yield database
    await database.close()


@pytest.fixture
async def rules(database: Database) -> Rules:
    rules = Rules(database)
    for rule in reversed(ALL):
        await rules.add(rule)
    return rules


async def test_rules_come_back_as_they_were_oldest_first(rules: Rules) -> None:
    assert await rules.list_all() == ALL


async def test_a_session_sees_the_rules_of_its_project_and_its_own(rules: Rules) -> None:
    assert await rules.list("/p", "s1") == [PROJECT, SESSION]
    assert await rules.list("/p", "s9") == [PROJECT]
    assert await rules.list("/q", "s3") == [OTHER_PROJECT]
    assert await rules.list("/r", "s9") == []


async def test_rules_survive_a_restart(rules: Rules, database: Database) -> None:
    again = await Database.open(database.path)
    try:
        assert await Rules(again).list("/p", "s1") == [PROJECT, SESSION]
    finally:
        await again.close()


async def test_a_rule_learned_twice_is_gone_after_one_revocation(rules: Rules) -> None:
    await rules.add(replace(PROJECT, rule_id="again", created_at=9.0))
    await rules.add(replace(SESSION, rule_id="again", created_at=9.0))
    assert await rules.list_all() == ALL
    assert await rules.revoke("r1")
    assert await rules.list("/p", "s1") == [SESSION]


async def test_opposite_rules_of_one_meaning_are_both_kept(rules: Rules) -> None:
    opposite = replace(PROJECT, rule_id="no", decision="deny", created_at=9.0)
    await rules.add(opposite)
    assert await rules.list("/p", "s9") == [PROJECT, opposite]


async def test_revoking_says_whether_there_was_such_a_rule(rules: Rules) -> None:
    assert await rules.revoke("r1")
    assert not await rules.revoke("r1")
    assert not await rules.revoke("' OR 1=1 --")
    assert await rules.list_all() == ALL[1:]


async def test_deleting_a_session_ends_its_own_rules_only(rules: Rules, database: Database) -> None:
    table = SessionTable(database)
    row = SessionRow("s1", "/p", "/p", "/p", (), None, "ask", "m", "default", 1.0, 1.0)
    await table.create(row)
    await table.delete("s1")
    assert await rules.list_all() == [PROJECT, OTHER_SESSION, OTHER_PROJECT]


async def test_a_rule_that_is_taught_again_rests_on_what_is_there_now(rules: Rules) -> None:
    origin = PROJECT.origin
    make = Rule(
        *("r5", "allow", "execute", "make test", "", "project", 5.0, origin),
        *("meaning", "Makefile", "old"),
    )
    again = replace(make, rule_id="r6", digest="new", created_at=6.0)
    other = replace(make, rule_id="r7", rests_on="web/Makefile", created_at=7.0)
    for rule in (make, again, replace(again, rule_id="r8", created_at=8.0), other):
        await rules.add(rule)
    assert (await rules.list_all())[len(ALL) :] == [replace(again, rule_id="r5"), other]


async def test_a_promoted_rule_holds_everywhere_once(rules: Rules) -> None:
    twin = replace(PROJECT, rule_id="r5", origin=replace(PROJECT.origin, project="/q"))
    await rules.add(twin)
    assert await rules.promote("r1")
    assert await rules.promote("r5")
    assert not await rules.promote("r1")
    everywhere = replace(twin, scope="everywhere")
    assert await rules.list("/anywhere", "s9") == [everywhere]
    assert await rules.list("/p", "s1") == [everywhere, SESSION]


async def test_rules_of_an_older_database_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    await asyncio.to_thread(_before_forms, path)
    database = await Database.open(path)
    assert await Rules(database).list_all() == [PROJECT]
    await database.close()


def _before_forms(path: Path) -> None:
    row = ("r1", "allow", "execute", "pytest -q", "/p", "project", 1.0, "/p", "s1", "Zed", "Run")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        schema.migrate(connection, path, "0005_recall.sql")
        connection.execute(f"INSERT INTO rules VALUES ({', '.join('?' * 11)})", row)
        connection.commit()
