"""Times as people write them: the moment that a record names, the periods that a question is about."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from hermes_acp.records import record

DAY = timedelta(days=1)
YEARS_BOUND = 20
"""Years in which a month is meant that was named without one, the last ones."""
MILLISECONDS_FROM = 1e11
"""A larger number counts milliseconds since the epoch: as seconds it would be after the year 5000."""

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip

_MONTH = "|".join(("sept", *(f"{name[:3]}(?:{name[3:]})?" for name in MONTHS)))
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>(?:19|20)\d\d)"
_DATES = tuple(
    re.compile(rf"(?<![\w-]){pattern}(?![\w-])", re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})-(?P<number>\d{1,2})(?:-(?P<day>\d{1,2}))?",
        rf"{_DAY}(?: of)? (?P<month>{_MONTH})\.?(?:,? {_YEAR})?",
        rf"(?P<month>{_MONTH})\.? {_DAY}(?:,? {_YEAR})?",
        rf"(?P<month>{_MONTH})\.?,?(?: of)? {_YEAR}",
        rf"(?:in|during|since|until|by|of|last|this|early|late|mid) (?P<month>{_MONTH})",
        _YEAR,
    )
)
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([ap]\.?m\.?)?", re.IGNORECASE)
_NEAR = (
    (re.compile(r"\byesterday\b", re.IGNORECASE), 1, 1),
    (re.compile(r"\btoday\b", re.IGNORECASE), 0, 1),
    (re.compile(r"\blast week\b", re.IGNORECASE), 14, 14),
    (re.compile(r"\bthis week\b", re.IGNORECASE), 7, 8),
    (re.compile(r"\blast month\b", re.IGNORECASE), 62, 62),
    (re.compile(r"\bthis month\b", re.IGNORECASE), 31, 32),
)
"""What is near to now: how many days before today it begins, and how many days it lasts."""


@record
class Period:
    """A time from `start` to before `end`, in seconds since the epoch."""

    start: float
    end: float


def moment(text: str) -> float | None:
    """Seconds since the epoch of a time as records write it; local time where no zone is named.

    Takes ISO 8601, seconds or milliseconds since the epoch, and days such as `1:56 pm on 8 May, 2023`.
    None when it is none of these.
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return _iso(text)
    seconds = number / 1000 if abs(number) >= MILLISECONDS_FROM else number
    return seconds if _is_time(seconds) else None


def periods(text: str, now: float, first: float) -> list[Period]:
    """The periods that a question names, none in most. A month without a year is meant in each year
    between `first` and `now`. Each is a day longer at both ends, because zones differ."""
    today = datetime.fromtimestamp(now).astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    years = list(range(datetime.fromtimestamp(first).year, today.year + 1))[-YEARS_BOUND:]
    found = [
        _wider(today - timedelta(days=back), today - timedelta(days=back - days))
        for pattern, back, days in _NEAR
        if pattern.search(text)
    ]
    for pattern in _DATES:
        found += [period for match in pattern.finditer(text) for period in _named(match, years)]
        # What a later pattern would find is a part of what this one has found.
        text = pattern.sub(" ", text)
    return list(dict.fromkeys(found))


def _named(match: re.Match[str], years: list[int]) -> list[Period]:
    parts = match.groupdict()
    month = _month(parts.get("month") or parts.get("number"))
    day = int(parts.get("day") or 0)
    chosen = [int(parts["year"])] if parts.get("year") else years
    found = (_period(year, month, day) for year in chosen)
    return [period for period in found if period is not None]


def _month(text: str | None) -> int:
    """The number of a month, 0 when none is named."""
    if text is None:
        return 0
    if text.isdecimal():
        return int(text)
    return next(number for number, name in enumerate(MONTHS, 1) if name.startswith(text.lower()[:3]))


def _period(year: int, month: int, day: int) -> Period | None:
    try:
        if day:
            start = datetime(year, month, day).astimezone()
            return _wider(start, start + DAY)
        start = datetime(year, month or 1, 1).astimezone()
        end = datetime(year + (month in (0, 12)), month % 12 + 1 if month else 1, 1).astimezone()
    except (ValueError, OverflowError):
        return None
    return _wider(start, end)


def _wider(start: datetime, end: datetime) -> Period:
    return Period((start - DAY).timestamp(), (end + DAY).timestamp())


def _iso(text: str) -> float | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = _written(text)
    try:
        return None if found is None else found.astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _written(text: str) -> datetime | None:
    for pattern in _DATES[1:3]:
        if (match := pattern.search(text)) and match["year"]:
            time = _TIME.search(text)
            hour, minute, second = _clock(time) if time else (0, 0, 0)
            try:
                return datetime(
                    int(match["year"]), _month(match["month"]), int(match["day"]), hour, minute, second
                )
            except ValueError:
                return None
    return None


def _clock(time: re.Match[str]) -> tuple[int, int, int]:
    hour = int(time[1])
    if time[4]:
        hour = hour % 12 + (12 if time[4].lower().startswith("p") else 0)
    return hour, int(time[2]), int(time[3] or 0)


def _is_time(seconds: float) -> bool:
    try:
        datetime.fromtimestamp(seconds)
    except (ValueError, OverflowError, OSError):
        return False
    return True
