"""Group commit: statements that wait together reach the disk together, each with its own outcome."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hermes_acp.storage.errors import is_busy, is_damage, is_fault

Value: TypeAlias = str | int | float | bytes | None
Outcome: TypeAlias = int | Exception
"""How a statement ended: the number of rows that it changed, or why it failed."""

REFUSED = (sqlite3.Error, ValueError, TypeError, OverflowError, MemoryError)
"""What a statement can raise: SQLite's own errors, and values that are none for SQLite."""
GROUP = 128
"""Statements of one transaction: those behind it wait for the next."""


@dataclass(eq=False, slots=True)
class Statement:
    """A statement on its way to the disk; `outcome` is set once its transaction is over."""

    sql: str
    args: Sequence[Value]
    outcome: Outcome | None = None


def commit(connection: sqlite3.Connection, statements: Sequence[Statement]) -> bool:
    """Run the statements in order and set their outcomes; False when a writer is in the way.

    They share one transaction. Where that fails, which is nobody's fault but one's, they run one by
    one, so that a statement never fails for its neighbour.
    """
    if len(statements) > 1:
        try:
            _together(connection, statements)
        except sqlite3.Error as error:
            _roll_back(connection)
            if is_busy(error):
                return False
        else:
            return True
    return _one_by_one(connection, statements)


def _together(connection: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    outcomes: list[Outcome] = []
    for statement in statements:
        try:
            outcomes.append(connection.execute(statement.sql, statement.args).rowcount)
        except REFUSED as error:
            # A statement that fails takes back its own changes. Some errors take back all.
            if not connection.in_transaction:
                raise
            outcomes.append(error)
    connection.execute("COMMIT")
    for statement, outcome in zip(statements, outcomes, strict=True):
        statement.outcome = outcome


def _one_by_one(connection: sqlite3.Connection, statements: Iterable[Statement]) -> bool:
    trouble: Exception | None = None
    for statement in statements:
        try:
            # The disk itself is in trouble: asking it again for each one would only take long.
            statement.outcome = trouble or connection.execute(statement.sql, statement.args).rowcount
        except REFUSED as error:
            _roll_back(connection)
            if is_busy(error):
                return False
            statement.outcome = error
            if is_fault(error) or is_damage(error):
                trouble = error
    return True


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")
