"""The manifest and the tests cover each other, and the documentation says the same."""

from __future__ import annotations

from pathlib import Path

from tests.acp.requirements import ROWS, coverage, table

PAGE = Path(__file__).parents[2] / "docs" / "acp.md"
BEGIN, END = "<!-- coverage: python -m tests.acp.requirements -->\n", "\n<!-- end of coverage -->"


def test_every_row_has_a_test() -> None:
    assert sorted({row.id for row in ROWS} - coverage().keys()) == []


def test_every_test_names_a_row_that_exists() -> None:
    unknown = coverage().keys() - {row.id for row in ROWS}
    assert {row: coverage()[row] for row in sorted(unknown)} == {}


def test_every_row_is_there_once() -> None:
    assert len({row.id for row in ROWS}) == len(ROWS)


def test_the_table_in_the_documentation_is_the_one_that_is_printed() -> None:
    page = PAGE.read_text("utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0] == table()
