"""The table of sessions: kept as given, and listed page by page without repeats."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from hermes_acp.storage.database import Database, StorageError
from hermes_acp.storage.sessions import PAGE, BadCursor, Page, SessionRow, SessionTable

ROW = SessionRow(
    session_id="s1",
    project="/p/.git",
    cwd="/link/p",
    real_cwd="/p",
    additional_directories=("/a", "/b c"),
    title="é 'quoted' \0",
    mode="plan",
    model="a/b",
    effort="high",
    created_at=1.25,
    updated_at=1765432109.1234567,
)


@pytest.fixture
async def table(tmp_path: Path) -> AsyncIterator[SessionTable]:
    database = await Database.open(tmp_path / "sessions.db")
    yield SessionTable(database)
    await database.close()


async def fill(table: SessionTable, count: int) -> list[str]:
    """So many sessions, some of them of the same moment: their ids, newest first."""
    rows = [
        replace(ROW, session_id=f"s{number:04}", updated_at=float(number // 3), real_cwd=f"/p{number % 2}")
        for number in range(count)
    ]
    for row in rows:
        await table.create(row)
    return [row.session_id for row in sorted(rows, key=lambda row: (row.updated_at, row.session_id))][::-1]


async def walk(table: SessionTable, cwd: str | None = None) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    page = await table.page(cwd)
    found += [row.session_id for row in page.rows]
    while page.next_cursor is not None:
        page = await table.page(cwd, page.next_cursor)
        found += [row.session_id for row in page.rows]
    return found


async def test_a_session_comes_back_as_it_was(table: SessionTable) -> None:
    await table.create(ROW)
    assert await table.get("s1") == ROW
    assert await table.get("s2") is None
    assert await table.page() == Page((ROW,), None)


async def test_an_id_is_given_once(table: SessionTable) -> None:
    await table.create(ROW)
    with pytest.raises(StorageError):
        await table.create(replace(ROW, title="ghost"))
    assert await table.get("s1") == ROW


async def test_what_changes_is_kept(table: SessionTable) -> None:
    await table.create(ROW)
    await table.set_title("s1", "new")
    await table.set_options("s1", "ask", "c/d", "low")
    await table.set_directories("s1", ())
    assert await table.get("s1") == replace(
        ROW, title="new", mode="ask", model="c/d", effort="low", additional_directories=()
    )


@pytest.mark.parametrize("count", [0, 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 7])
async def test_pages_hold_every_session_once_newest_first(table: SessionTable, count: int) -> None:
    ids = await fill(table, count)
    assert await walk(table) == ids
    assert await walk(table, "/p1") == [item for item in ids if int(item[1:]) % 2 == 1]
    assert await walk(table, "/elsewhere") == []


async def test_a_cursor_stays_good_while_sessions_come_and_go(table: SessionTable) -> None:
    ids = await fill(table, 2 * PAGE)
    first = await table.page()
    await table.create(replace(ROW, session_id="newest"))
    await table.delete(ids[PAGE - 1])
    await table.delete(ids[PAGE])
    second = await table.page(None, first.next_cursor)
    assert [row.session_id for row in second.rows] == ids[PAGE + 1 :]


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "nonsense",
        "é",
        "AAAA",
        "\0",
        "a" * 100_000,
        base64.urlsafe_b64encode(b'{"a": 1}').decode(),
        base64.urlsafe_b64encode(b'["1", "s1"]').decode(),
        base64.urlsafe_b64encode(b"[1, 2]").decode(),
        base64.urlsafe_b64encode(b'[1, "s1", 3]').decode(),
        base64.urlsafe_b64encode(b"[" * 5_000).decode(),
    ],
)
async def test_a_cursor_that_no_listing_gave_is_refused_with_what_to_do(
    table: SessionTable, cursor: str
) -> None:
    with pytest.raises(BadCursor, match="list from the beginning"):
        await table.page(None, cursor)


async def test_a_cursor_is_data_not_sql(table: SessionTable) -> None:
    ids = await fill(table, 3)
    forged = base64.urlsafe_b64encode(orjson.dumps([99.0, "' OR 1=1 --"])).decode()
    assert [row.session_id for row in (await table.page(None, forged)).rows] == ids


async def test_deleting_says_whether_there_was_such_a_session(table: SessionTable) -> None:
    await table.create(ROW)
    assert await table.delete("s1")
    assert not await table.delete("s1")
    assert not await table.delete("' OR 1=1 --")


async def test_text_that_is_no_unicode_is_an_error_that_says_so(table: SessionTable) -> None:
    with pytest.raises(StorageError, match="not valid Unicode"):
        await table.create(replace(ROW, real_cwd="/p/\udcff"))
    with pytest.raises(StorageError, match="not valid Unicode"):
        await table.get("\ud800")
    await table.create(ROW)
    assert await table.get("s1") == ROW
