"""Which paths a glob takes, and that no glob takes for ever."""

import pytest

from hermes_acp.workspace.globs import GlobError, compile_glob

PATHS = ("a.py", "src/a.py", "src/b.js", "src/deep/c.py", "src/deep/[x].ts", "src.py/d", ".github/w.yml")

TAKEN = {
    "*.py": ("a.py", "src/a.py", "src/deep/c.py"),
    "./*.py": ("a.py", "src/a.py", "src/deep/c.py"),
    "/*.py": ("a.py",),
    "**/*.py": ("a.py", "src/a.py", "src/deep/c.py"),
    "src/*": ("src/a.py", "src/b.js"),
    "src/**": ("src/a.py", "src/b.js", "src/deep/c.py", "src/deep/[x].ts"),
    "src/**/**/*.py": ("src/a.py", "src/deep/c.py"),
    "**/deep/*": ("src/deep/c.py", "src/deep/[x].ts"),
    "s*c/?.{py,js}": ("src/a.py", "src/b.js"),
    "{src/{a,b}.*,a.py}": ("a.py", "src/a.py", "src/b.js"),
    "[ab].py": ("a.py", "src/a.py"),
    "[!a].py": ("src/deep/c.py",),
    "[a-c].??": ("a.py", "src/a.py", "src/b.js", "src/deep/c.py"),
    r"\[x\].ts": ("src/deep/[x].ts",),
    "[[]x[]].ts": ("src/deep/[x].ts",),
    "*.*y*": ("a.py", "src/a.py", "src/deep/c.py", ".github/w.yml"),
    "src[/]a.py": (),
    "*": PATHS,
    "**": PATHS,
    "{": (),
    "": (),
}


@pytest.mark.parametrize("pattern", TAKEN)
def test_globs_take_what_people_expect(pattern: str) -> None:
    matches = compile_glob(pattern).fullmatch
    assert tuple(path for path in PATHS if matches(path)) == TAKEN[pattern]


@pytest.mark.parametrize("pattern", ["[z-a]", "{a,b}" * 7, "**/a/" * 5 + "b", "x" * 1001])
def test_impossible_globs_are_refused(pattern: str) -> None:
    with pytest.raises(GlobError):
        compile_glob(pattern)


@pytest.mark.parametrize("pattern", ["*a" * 60 + "b", "**/" + "*a*/" * 3 + "**/*b", "**/a/**/a/**/a/**/b"])
def test_no_glob_runs_away(pattern: str) -> None:
    matches = compile_glob(pattern).fullmatch
    assert not matches("a" * 250)
    assert not matches("a/" * 40 + "a")
