"""git's configuration read as git reads it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermes_acp.workspace.git_config import Entry, entries

SAMPLES = [
    "[a]\n\tk = \x1fv\x0c \u00a0\n",
    "[core]\n\tbare = false\n",
    "[a]x=1\ny\nz = \n[B.c] k = v ; comment\n",
    '[remote "the \\"origin\\" \\\\"]\n url = "a # b" c # d\n',
    "[a]\nk = one \\\n  two\nl = x\\ty\\n\n",
    "\ufeff[a]\r\n\tk = v  \r\n",
    "# [no]\n; x = 1\n[a]\n  # k = v \\\n  k = w\n",
    '[a]\nk = "  spaces  "   \nl = "quo"te\n[a "b"]\nk = 1\n[a]\nk = 2\n',
    "",
]


def by_git(file: Path) -> list[tuple[str, str]] | None:
    command = ["git", "config", "--file", str(file), "--null", "--list"]
    done = subprocess.run(
        command, capture_output=True, env={"PATH": os.defpath, "HOME": "/nonexistent"}, check=False
    )
    if done.returncode:
        return None
    pairs = [item.partition("\n") for item in done.stdout.decode().split("\0") if item]
    return [(name, value) for name, _, value in pairs]


def by_us(text: str) -> list[tuple[str, str]]:
    return [(".".join(filter(None, (e.section, e.subsection, e.name))), e.value) for e in entries(text)]


@pytest.mark.parametrize("text", SAMPLES)
def test_it_is_read_as_git_reads_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(text.encode())
    # In the deprecated form [B.c] the subsection is part of the section.
    assert by_us(text) == by_git(file)


@settings(max_examples=40, deadline=None)
@given(value=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40))
def test_whatever_git_writes_is_read_back(value: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("config") / "config"
    env = {"PATH": os.defpath, "HOME": "/nonexistent"}
    subprocess.run(["git", "config", "--file", str(file), "a.k", value], check=True, env=env)
    assert list(entries(file.read_bytes().decode())) == [Entry("a", "", "k", value)]


@given(text=st.text(st.sampled_from('[]"\\#;=ab \n\r\t.-'), max_size=60))
def test_nonsense_ends_in_no_error(text: str) -> None:
    list(entries(text))
