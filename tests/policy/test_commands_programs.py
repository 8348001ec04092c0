"""The table of programs: what its files may say, and that ours say nothing contradictory."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermes_acp.policy.commands.programs import Option, TableError, Words, load, table

SAMPLE = """
[sift]
also = "sieve"
flags = "-a -n= -f=path --color=? --pair=text,path -#"
writes = "-o=out"
words = "text path*"
instead = "-f"

[tool]
words = "group"
does = "executes"

["@shared"]
flags = "-q"

["tool list"]
also = "ls"
with = "@shared"
words = "text* out"

[variables]
LANG = '[a-z]+'

[questions]
"--version" = "sift other"
"""


def test_a_table_is_read_with_its_aliases_shared_options_and_kinds(tmp_path: Path) -> None:
    (tmp_path / "sample.toml").write_text(SAMPLE)
    read = load(tmp_path)
    assert sorted(read.programs) == ["sieve", "sift", "tool", "tool list", "tool ls"]
    assert read.programs["sieve"].options == {
        "--help": Option(),
        "--version": Option(),
        "-a": Option(),
        "-n": Option("text"),
        "-f": Option("path"),
        "--color": Option("text", attached=True),
        "--pair": Option("text", "path"),
        "-#": Option(),
        "-o": Option("out", does="writes"),
    }
    assert read.programs["tool ls"].options["-q"] == Option()
    assert read.questions == {"sift": frozenset({"--version"}), "other": frozenset({"--version"})}
    assert read.variables["LANG"].fullmatch("de")


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (Words(("text",), "path"), [(), ("text",), ("text", "path"), ("text", "path", "path")]),
        (Words((), "path", ("out",)), [(), ("out",), ("path", "out"), ("path", "path", "out")]),
        (Words(("path", "out")), [(), ("path",), ("path", "out"), None]),
        (Words(), [(), None, None, None]),
    ],
)
def test_words_are_taken_from_both_ends(words: Words, kinds: list[tuple[str, ...] | None]) -> None:
    assert [words.kinds(count) for count in range(4)] == kinds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a]\nflag = '-x'", "unknown members"),
        ("[a]\nalso = 'a'", "stands twice"),
        ("[a]\nwords = 'paths'", "no kind of argument"),
        ("[a]\nflags = ['-x']", "no text"),
        ("[a]\nonly = '('", "no regular expression"),
        ("[a]\nstyle = 'x'", "unknown style"),
        ("[a]\ncheck = 'x'", "unknown style or check"),
        ("[a]\ndoes = 'sings'", "'sings'"),
        ("[a]\nwith = '@x'", "'@x'"),
        ("['a b']\nwords = 'text'", "no group"),
        ("a = 1", "no table"),
    ],
)
def test_a_mistake_in_a_table_names_the_entry(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(TableError, match=message):
        load(tmp_path)


def test_our_own_table_is_large_and_consistent() -> None:
    read = table()
    assert len([one for one in read.programs.values() if not one.does and not one.group]) > 400
    for program in read.programs.values():
        assert set(program.needs) <= program.options.keys(), program.name
        assert program.instead <= program.options.keys(), program.name
        assert all(name.startswith(("-", "+")) for name in program.options), program.name
