"""Times as people write them."""

from __future__ import annotations

from datetime import datetime

import pytest

from hermes_acp.memory.dates import DAY, Period, moment, periods

NOW = datetime(2026, 1, 31, 12).timestamp()


def at(*parts: int) -> float:
    return datetime(*parts).timestamp()


def period(start: datetime, end: datetime) -> Period:
    """From a day before the one to a day behind the other."""
    return Period((start - DAY).timestamp(), (end + DAY).timestamp())


def month(year: int, number: int) -> Period:
    return period(datetime(year, number, 1), datetime(year + number // 12, number % 12 + 1, 1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1683546960", 1_683_546_960.0),
        ("1683546960.5", 1_683_546_960.5),
        ("1683546960000", 1_683_546_960.0),
        ("2023-05-08T11:56:00Z", 1_683_546_960.0),
        ("2023-05-08T13:56:00+02:00", 1_683_546_960.0),
        (" 2023-05-08 13:56 ", at(2023, 5, 8, 13, 56)),
        ("2023-05-08", at(2023, 5, 8)),
        ("1:56 pm on 8 May, 2023", at(2023, 5, 8, 13, 56)),
        ("12:05 a.m. on 1st of June 2023", at(2023, 6, 1, 0, 5)),
        ("Sept 3, 2022 17:08:09", at(2022, 9, 3, 17, 8, 9)),
    ],
)
def test_records_write_moments_in_these_ways(text: str, expected: float) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "soon", "nan", "inf", "-inf", "1e300", "99999-01-01", "31 February, 2023", "May 2023", "0x10"],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert moment(text) is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What was bought in March 2023?", [month(2023, 3)]),
        ("the Sept. 2023 release", [month(2023, 9)]),
        ("Who came in December, 2024?", [month(2024, 12)]),
        ("on 8 May 2023", [period(datetime(2023, 5, 8), datetime(2023, 5, 9))]),
        ("on May 8th, 2023", [period(datetime(2023, 5, 8), datetime(2023, 5, 9))]),
        ("since 2023-05-08?", [period(datetime(2023, 5, 8), datetime(2023, 5, 9))]),
        ("in 2023-05", [month(2023, 5)]),
        ("What happened in 2024?", [period(datetime(2024, 1, 1), datetime(2025, 1, 1))]),
        ("What did she say in May?", [month(2024, 5), month(2025, 5), month(2026, 5)]),
        ("yesterday", [period(datetime(2026, 1, 30), datetime(2026, 1, 31))]),
        ("today", [period(datetime(2026, 1, 31), datetime(2026, 2, 1))]),
        ("What may I do?", []),
        ("They march on", []),
        ("on 31 February 2023", []),
        ("port 20231 and v2-2023", []),
    ],
)
def test_questions_name_these_periods(question: str, expected: list[Period]) -> None:
    assert periods(question, NOW, at(2024, 2, 1)) == expected
