"""Changing values in a `config.toml` that people keep by hand."""

from __future__ import annotations

import stat
import tomllib
from pathlib import Path

import pytest

from hermes_acp.cli.config_file import NotEditable, edited, save

BY_HAND = """\
# my settings
model = "openai/old"   # cheap
mode = 'plan'
models = [
  "a/b",
]

[keys]  # secret
OPENAI_API_KEY = "old"

[future]
model = "not this one"
"""


def test_values_are_replaced_in_their_lines_and_comments_stay() -> None:
    after = edited(BY_HAND, {"model": "anthropic/new"}, {"OPENAI_API_KEY": "new", "X_API_KEY": "x"})
    assert after == BY_HAND.replace('"openai/old"', '"anthropic/new"').replace(
        '= "old"\n', '= "new"\nX_API_KEY = "x"\n'
    )


def test_missing_values_and_a_missing_table_are_added() -> None:
    assert edited("", {"model": "a/b"}, {"K": "v"}) == 'model = "a/b"\n\n[keys]\nK = "v"\n'
    assert edited("[future]\nx = 1\n", {"model": "a/b"}, {}) == 'model = "a/b"\n[future]\nx = 1\n'


def test_any_value_survives_the_way_into_the_file_and_back() -> None:
    value = 'a"b\\c\té\U0001f600 #'
    assert tomllib.loads(edited('model = "x" # c', {"model": value}, {"K": value})) == {
        "model": value,
        "keys": {"K": value},
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = ", "not valid TOML"),
        ('keys = {A = "x"}', "cannot be changed safely"),
        ('keys = "x"', "no table"),
        ('model = """\nold"""', "cannot be changed safely"),
        ('note = """\nmodel = "in a text"\n"""\n', "cannot be changed safely"),
        ('"model" = "old"', "cannot be changed safely"),
    ],
)
def test_a_file_that_could_be_harmed_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NotEditable, match=reason):
        edited(text, {"model": "a/b"}, {"B": "y"})


def test_the_saved_file_is_private_and_so_is_its_folder(tmp_path: Path) -> None:
    file = tmp_path / "config" / "config.toml"
    save(file, {"model": "a/b"}, {})
    assert file.read_text() == 'model = "a/b"\n'
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_a_linked_file_stays_a_link_and_a_refused_one_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    real = tmp_path / "dotfiles" / "config.toml"
    real.write_text('mode = "plan"\n')
    file = tmp_path / "config" / "config.toml"
    file.parent.mkdir()
    file.symlink_to(real)
    save(file, {"model": "a/b"}, {})
    assert file.is_symlink()
    assert real.read_text() == 'mode = "plan"\nmodel = "a/b"\n'
    real.write_bytes(b"\xff")
    with pytest.raises(NotEditable, match=r'not UTF-8.*model = "c/d".*K = … under \[keys\]'):
        save(file, {"model": "c/d"}, {"K": "secret"})
    assert real.read_bytes() == b"\xff"
