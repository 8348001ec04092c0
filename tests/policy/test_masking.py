"""Marks for secrets: the same for the same value, back only in the file that had it, whole across pieces."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.policy.masking import HELD, KNOWN_BOUND, MARK, Masks, Misplaced, Stream

TOKEN = "ghp_9fK2mQx7Lw4Zt8Rb1Vn6Yc3Hd5Js0Pg4Ua7E"
PASSWORD = "q7Tz-m2Rw"
ENV = f"# local\nPORT=8080\nDB_PASSWORD={PASSWORD}\nGITHUB_TOKEN={TOKEN}\n"
FILE = "/p/.env"


def test_a_secret_gets_a_mark_that_says_what_it_was_and_is_the_same_each_time() -> None:
    masks = Masks()
    hidden = masks.hide(f"a {TOKEN} b {TOKEN}")
    (first, second) = MARK.findall(hidden)
    assert first == second
    assert re.fullmatch(r"a \[redacted: github token #[0-9a-f]{6}\] b \[.*\]", hidden)
    assert masks.hide(TOKEN) == first
    assert masks.hide(hidden) == hidden


def test_the_text_of_a_file_comes_back_as_it_was() -> None:
    masks = Masks()
    hidden = masks.hide(ENV, FILE)
    assert TOKEN not in hidden
    assert PASSWORD not in hidden
    assert masks.restore(hidden, FILE, ENV) == ENV


def test_a_value_that_was_met_is_hidden_where_nothing_announces_it() -> None:
    masks = Masks(["swordfish-of-the-shell"])
    masks.hide(ENV, FILE)
    said = masks.hide(f"connecting with {PASSWORD}, then swordfish-of-the-shell")
    assert re.fullmatch(
        r"connecting with \[redacted: password #\w+\], then \[redacted: environment #\w+\]", said
    )


def test_a_mark_brings_its_secret_into_no_other_file() -> None:
    masks = Masks()
    mark = MARK.findall(masks.hide(ENV, FILE))[0]
    with pytest.raises(Misplaced, match=r"was not read from /p/public\.txt.*nothing was written"):
        masks.restore(f"x={mark}", "/p/public.txt", "")


def test_what_the_user_gave_may_go_into_any_file() -> None:
    masks = Masks()
    said = masks.hide(f"put {TOKEN} into .env", given=True)
    assert masks.restore(said, FILE, "") == f"put {TOKEN} into .env"


def test_a_mark_of_another_run_is_refused_with_a_sentence() -> None:
    mark = MARK.findall(Masks().hide(ENV, FILE))[0]
    masks = Masks()
    masks.hide(ENV, FILE)
    with pytest.raises(Misplaced, match="Read the file again"):
        masks.restore(f"DB_PASSWORD={mark}", FILE, ENV)


def test_what_looks_like_a_mark_in_a_file_is_text_of_that_file() -> None:
    masks, text = Masks(), "See [redacted: github token #0a1b2c] in the manual.\n"
    assert masks.hide(text, FILE) == text
    assert masks.restore(text, FILE, text) == text


def test_short_values_are_not_searched_for() -> None:
    masks = Masks()
    masks.hide("DB_PASSWORD=a1b2c3\n")
    assert masks.hide("a1b2c3 is a commit") == "a1b2c3 is a commit"


def test_many_known_values_stay_within_their_bound() -> None:
    masks = Masks(f"value-number-{number:05}" for number in range(KNOWN_BOUND + 1))
    assert masks.hide("value-number-00000") == "value-number-00000"
    assert MARK.fullmatch(masks.hide(f"value-number-{KNOWN_BOUND:05}"))


KEY = "-----BEGIN PRIVATE" + " KEY-----\n" + "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n" * 3
KEY += "-----END PRIVATE" + " KEY-----"
OUTPUT = f"building\r 50 %\r100 %\nuses {TOKEN} now\nDB_PASSWORD={PASSWORD}\n{KEY}\nContinue? [y/N] "


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_a_secret_in_pieces_is_hidden_as_in_one(size: int) -> None:
    masks = Masks()
    whole, stream = masks.hide(OUTPUT), Stream(masks)
    pieces = [stream.add(OUTPUT[at : at + size]) for at in range(0, len(OUTPUT), size)]
    assert "".join([*pieces, stream.end()]) == whole


def test_a_question_without_a_line_end_is_shown_at_once() -> None:
    assert Stream(Masks()).add("Continue? [y/N] ") == "Continue? [y/N] "


def test_a_line_without_an_end_does_not_wait_for_ever() -> None:
    stream, text = Stream(Masks()), "." * (HELD + 1)
    assert stream.add(text) == text


LETTERS = st.sampled_from(
    [*"ab \n='\":", TOKEN, PASSWORD, "password=", "-----BEGIN ", KEY, "[redacted: x #aaaaaa]"]
)


@given(st.lists(LETTERS, max_size=12).map("".join), st.data())
def test_any_text_comes_back_and_no_cut_shows_what_is_known(text: str, data: st.DataObject) -> None:
    masks = Masks([TOKEN])
    assert masks.restore(masks.hide(text, FILE), FILE, text) == text
    cut = data.draw(st.integers(0, len(text)))
    stream = Stream(masks)
    assert TOKEN not in stream.add(text[:cut]) + stream.add(text[cut:]) + stream.end()


def test_the_sources_of_this_program_stay_as_they_are() -> None:
    root = Path(__file__).parents[2]
    masks = Masks()
    files = [
        *(root / "hermes_acp").rglob("*.py"),
        *root.glob("*.toml"),
        root / "ARCHITECTURE.md",
        root / "Makefile",
    ]
    texts = {str(path): path.read_text("utf-8") for path in files}
    assert [path for path, text in texts.items() if masks.hide(text) != text] == []
