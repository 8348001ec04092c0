"""The file of the user's answers: kept by several processes at once, and never guessed from damage."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from hermes_acp.policy.trust import Feature, granted, refused
from hermes_acp.storage import trust as module
from hermes_acp.storage.errors import StorageError
from hermes_acp.storage.trust import FILE, TrustFile

SHOWN = (Feature("instructions", "AGENTS.md", "d1"), Feature("servers", "db", "d2"))


def test_an_answer_is_kept_replaced_and_forgotten(tmp_path: Path) -> None:
    answers = TrustFile(tmp_path / "data")
    assert (answers.get("/p"), answers.all(), answers.forget(["/p"])) == (None, [], False)
    first = granted(None, "/p", "id", SHOWN, "editor")
    answers.keep(first)
    assert TrustFile(tmp_path / "data").get("/p") == first
    never = replace(refused("/p", "id", "other"), decided_at=first.decided_at + 1)
    answers.keep(never)
    odd = replace(refused("/\udcff", "", ""), decided_at=1.0)
    answers.keep(odd)
    assert answers.all() == [never, odd]
    assert answers.forget(["/p", "/none"])
    assert answers.all() == [odd]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    TrustFile(tmp_path).keep(refused("/p", "", ""))
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"places": [{"place": "/p"}]}', b"\xff", b"[" * 100_000, b'{"places": 3}']
)
def test_a_damaged_file_trusts_nothing_and_can_be_written_again(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE).write_bytes(data)
    answers = TrustFile(tmp_path)
    assert answers.get("/p") is None
    answers.keep(refused("/p", "", ""))
    assert [item.place for item in answers.all()] == ["/p"]


def test_a_file_that_cannot_be_read_or_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(StorageError, match=FILE):
        TrustFile(tmp_path).get("/p")
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        TrustFile(tmp_path / "file").keep(refused("/p", "", ""))


def test_answers_given_at_once_are_all_kept(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: TrustFile(tmp_path).keep(refused(f"/p{n}", "", "")), range(24)))
    assert len(TrustFile(tmp_path).all()) == 24


def test_the_oldest_answers_are_forgotten_when_there_are_too_many(tmp_path: Path) -> None:
    answers = [replace(refused(f"/{n}", "", ""), decided_at=float(n)) for n in range(module.PLACES_BOUND + 1)]
    file = TrustFile(tmp_path)
    file._write(answers[1:])
    file.keep(replace(answers[0], decided_at=1e9))
    kept = file.all()
    assert (len(kept), kept[0].place, kept[-1].place) == (module.PLACES_BOUND, "/0", "/2")
