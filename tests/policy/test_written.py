"""Rules in files: the user's own and the project's stricter ones, and what wrong entries lead to."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from hermes_acp.policy.effects import Effect
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules.rules import Origin, Rule
from hermes_acp.policy.rules.written import FILE_BYTES, Where, Written, written


@pytest.fixture
def where(tmp_path: Path) -> Where:
    root = tmp_path.resolve() / "p"
    (root / ".hermes").mkdir(parents=True)
    return Where(str(tmp_path / "config.toml"), "/home/me", (str(root),), str(root / ".git"))


def user(where: Where, text: str) -> Written:
    Path(where.user_file).write_text(text)
    return written(where)


def project(where: Where, text: str) -> Written:
    Path(where.roots[0], ".hermes", "config.toml").write_text(text)
    return written(where)


def run(where: Where, command: str) -> str:
    effect = Effect("execute", "x", command=command, cwd=where.roots[0])
    return judge(effect, "ask", written(where).rules, where.roots).decision


def touch(where: Where, kind: str, path: str) -> str:
    effect = Effect("read" if kind == "read" else "write", "x", paths=(f"{where.roots[0]}/{path}",))
    return judge(effect, "accept_edits", written(where).rules, where.roots).decision


def test_an_entry_of_the_user_is_a_rule(where: Where) -> None:
    assert user(where, '[[rules]]\ndecision = "allow"\ncommand = "npm  test"\n') == Written(
        (
            Rule(
                *("rule 1", "allow", "execute", "npm test", "", "everywhere", 0.0),
                Origin("", "", "", "", where.user_file),
                "pattern",
            ),
        )
    )


def test_an_entry_can_be_about_one_project(where: Where) -> None:
    entry = '[[rules]]\ndecision = "deny"\ncommand = "npm"\nproject = "{}"\n'
    assert user(where, entry.format("/other")).rules == ()
    assert user(where, entry.format(where.roots[0])).rules != ()
    assert user(where, entry.format("~/p")).complaints == ()


def test_a_project_can_only_be_stricter(where: Where) -> None:
    user(where, '[[rules]]\ndecision = "allow"\ncommand = "npm test"\n')
    found = project(
        where,
        '[[rules]]\ndecision = "allow"\ncommand = "rm"\n'
        '[[rules]]\ndecision = "deny"\ncommand = "git push"\n'
        '[[rules]]\ndecision = "ask"\ncommand = "ls"\n',
    )
    file = f"{where.roots[0]}/.hermes/config.toml"
    assert found.complaints == (f"{file}, rule 1: a project may only ask and deny. It allows nothing.",)
    assert [run(where, command) for command in ("rm x", "git push", "ls", "cat x")] == [
        *("ask", "deny", "ask", "allow")
    ]


def test_the_rules_of_the_repository_hold_in_its_folders_and_those_around_it_do_not(where: Where) -> None:
    root = Path(where.roots[0])
    project(where, '[[rules]]\ndecision = "deny"\ncommand = "ls"\n')
    (root / "sub").mkdir()
    inner = Where(where.user_file, "", (str(root / "sub"),), "")
    assert written(inner).rules == ()
    (root / ".git").mkdir()
    assert len(written(inner).rules) == 1
    (root / "sub" / ".git").mkdir()
    assert written(inner).rules == ()


def test_paths_are_meant_in_commands_too_and_in_any_case(where: Where) -> None:
    user(
        where,
        '[[rules]]\ndecision = "deny"\npath = "secret/**"\n'
        '[[rules]]\ndecision = "ask"\npath = "*.lock"\n'
        '[[rules]]\ndecision = "deny"\npath = "/etc"\n',
    )
    assert [touch(where, "read", path) for path in ("secret/a", "SECRET/b/c", "a/b.lock", "other")] == [
        *("deny", "deny", "ask", "allow")
    ]
    assert [touch(where, "write", path) for path in ("secret/a", "b.lock", "other")] == [
        "deny",
        "ask",
        "allow",
    ]
    commands = (
        "cat secret/a",
        "cd secret && cat a",
        "echo x > secret/a",
        "cat x.lock",
        "cat /etc/hosts",
        "cat y",
    )
    assert [run(where, command) for command in commands] == ["deny", "deny", "deny", "ask", "deny", "allow"]


def test_paths_can_be_allowed_but_not_protected_ones(where: Where) -> None:
    user(
        where,
        '[[rules]]\ndecision = "allow"\npath = "**"\n[[rules]]\ndecision = "allow"\npath = "/usr/share/**"\n',
    )

    def decided(kind: str, path: str) -> str:
        effect = Effect("read" if kind == "read" else "write", "x", paths=(path,))
        return judge(effect, "ask", written(where).rules, where.roots).decision

    root = where.roots[0]
    assert decided("write", f"{root}/a/b") == "allow"
    assert decided("write", f"{root}/.git/config") == "ask"
    assert decided("read", "/usr/share/doc/x") == "allow"
    assert decided("write", "/usr/share/doc/x") == "ask"


def test_hosts_and_tools(where: Where) -> None:
    user(
        where,
        '[[rules]]\ndecision = "allow"\nhost = "*.example.org"\n'
        '[[rules]]\ndecision = "deny"\nhost = "evil.org"\n'
        '[[rules]]\ndecision = "allow"\ntool = "db__get*"\n',
    )

    def decided(**what: str) -> str:
        kind = "fetch" if "host" in what else "mcp"
        return judge(Effect(kind, "x", **what), "ask", written(where).rules, where.roots).decision

    hosts = ("a.example.org", "example.org", "evil.org", "sub.EVIL.org.")
    assert [decided(host=host) for host in hosts] == ["allow", "ask", "deny", "deny"]
    assert [decided(tool=tool) for tool in ("db__get_all", "db__drop")] == ["allow", "ask"]
    assert run(where, "curl https://evil.org/x") == "deny"


@pytest.mark.parametrize(
    ("entry", "problem", "asks"),
    [
        ('decision = "deny"', "it needs one of `command`, `path`, `host` and `tool`", 5),
        ('decision = "deny"\ncommand = 5', "`command` has to be a text", 1),
        ('decision = "deny"\ncommand = "a; b"', "`command` has to be the first plain words of commands", 1),
        ('decision = "deny"\ncommand = "ls"\nhost = "x"', "it needs one of", 2),
        ('decision = "never"\npath = "x"', '`decision` has to be "allow", "ask" or "deny"', 2),
        ('decision = ["deny"]\npath = "x"', '`decision` has to be "allow", "ask" or "deny"', 2),
        ('decision = "deny"\ncmd = "ls"', "`cmd` is not known here", 5),
        ('decision = "deny"\npath = "../x"', "`path` must not hold `..`", 2),
        ('decision = "deny"\npath = ""', "`path` is empty", 2),
        ('decision = "deny"\ntool = "a\\u200b"', "`tool` holds a character that cannot be seen", 1),
        ('decision = "deny"\ntool = "a"\nproject = "p"', "`project` has to be the path of a folder", 1),
        ('decision = "allow"\ncommand = "$(x)"', "`command` has to be the first plain words", 0),
        ('decision = "allow"\ncommand = "ls"\nwhen = "x"', "`when` is not known here. It allows nothing.", 0),
    ],
)
def test_a_wrong_entry_is_named_and_asks_or_allows_nothing(
    where: Where, entry: str, problem: str, asks: int
) -> None:
    found = user(where, f'[[rules]]\ndecision = "allow"\ncommand = "make"\n[[rules]]\n{entry}\n')
    assert [rule.decision for rule in found.rules] == ["allow", *["ask"] * asks]
    (complaint,) = found.complaints
    assert complaint.startswith(f"{where.user_file}, rule 2: {problem}")


@pytest.mark.parametrize(
    "text", ["no toml", "rules = 1", "rules = [1]", "x = 1\n" * FILE_BYTES, "[[rules]]\n" * 1001]
)
def test_a_file_that_cannot_be_used_has_everything_asked_for(where: Where, text: str) -> None:
    assert run(where, "ls") == "allow"
    assert len(project(where, text).complaints) == 1
    assert run(where, "ls") == "ask"
    assert touch(where, "read", "x") == "ask"
    assert touch(where, "write", "x") == "ask"


def test_a_file_that_is_none_has_everything_asked_for_and_keeps_nobody_waiting(where: Where) -> None:
    os.mkfifo(Path(where.roots[0], ".hermes", "config.toml"))
    assert run(where, "ls") == "ask"


def test_a_change_of_a_file_counts_at_once(where: Where) -> None:
    user(where, '[[rules]]\ndecision = "deny"\ncommand = "ls"\n')
    assert run(where, "ls") == "deny"
    Path(where.user_file).write_text("")
    assert run(where, "ls") == "allow"
    Path(where.user_file).unlink()
    assert written(where) == Written()


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("a/*.py", "a/x.py", "a/b/x.py"),
        ("a/**/x", "a/b/c/x", "b/x"),
        ("**/x", "x", "y"),
        ("a/**", "a", "ab"),
        ("x?z", "d/xyz", "xz"),
        ("a*b*c", "a1b2c", "abd"),
        ("*.t*.ts", "a.test.ts", "a.ts"),
        ("a.b", "a.b/c", "aXb"),
        ("[a]", "[a]", "a"),
    ],
)
def test_globs_mean_what_they_mean_elsewhere(where: Where, glob: str, yes: str, no: str) -> None:
    user(where, f'[[rules]]\ndecision = "deny"\npath = "{glob}"\n')
    assert (touch(where, "read", yes), touch(where, "read", no)) == ("deny", "allow")


def test_no_glob_takes_long(where: Where) -> None:
    user(where, f'[[rules]]\ndecision = "deny"\npath = "**/{"a*" * 20}b/**"\n')
    started = time.thread_time()
    assert touch(where, "read", "/".join(["a" * 200] * 15)) == "allow"
    # Tried out one after the other, the ways in which it could match would take years.
    assert time.thread_time() - started < 5
