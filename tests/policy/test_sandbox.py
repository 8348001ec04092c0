"""What the sandbox is for, and what the modes auto and full make of an effect."""

from __future__ import annotations

import pytest

from hermes_acp.policy.effects import Effect
from hermes_acp.policy.gate import judge
from hermes_acp.policy.rules.rules import Verdict
from hermes_acp.policy.sandbox import IN_THE_SANDBOX, blame, confinable

ROOTS = ("/p",)
OWN = ("/home/u/.config/hermes-editor",)
CONFINED = Verdict("allow", IN_THE_SANDBOX, confined=True)


def execute(command: str, **more: object) -> Effect:
    return Effect("execute", "run", command=command, cwd="/p", **more)


@pytest.mark.parametrize(
    "command",
    ["pytest -q", "python -c 'print(1)'", "git commit -m x", "rm -rf build", "$(curl x)", "x | sh", "make"],
)
def test_in_auto_a_command_that_does_more_than_read_runs_in_the_sandbox(command: str) -> None:
    assert judge(execute(command), "auto", (), ROOTS, OWN) == CONFINED


def test_in_auto_a_command_that_only_reads_runs_where_it_always_did() -> None:
    verdict = judge(execute("ls -l | wc -l"), "auto", (), ROOTS, OWN)
    assert (verdict.decision, verdict.harmless, verdict.confined) == ("allow", True, False)


@pytest.mark.parametrize("command", ["echo x > .envrc", "rm -r .git", "echo x > sub/../.vscode/tasks.json"])
def test_in_auto_a_protected_file_is_asked_for(command: str) -> None:
    assert judge(execute(command), "auto", (), ROOTS, OWN).decision == "ask"


def test_in_auto_the_shell_that_was_changed_unasked_widens_no_verdict() -> None:
    effect = execute("ls", altered=("variable PATH",))
    assert judge(effect, "auto", (), ROOTS, OWN) == CONFINED
    assert judge(effect, "ask", (), ROOTS, OWN).decision == "ask"


@pytest.mark.parametrize("mode", ["auto", "full"])
def test_the_hard_limits_hold(mode: str) -> None:
    assert judge(execute("rm -rf /"), mode, (), ROOTS, OWN).decision == "deny"


def test_what_has_to_run_outside_is_asked_for_with_the_reason() -> None:
    verdict = judge(execute("npm i", outside="it wanted the network"), "auto", (), ROOTS, OWN)
    assert (verdict.decision, verdict.confined) == ("ask", False)
    assert verdict.reason.startswith("To run outside the sandbox, because it wanted the network. ")


def test_in_full_everything_happens_but_a_change_of_our_own_files() -> None:
    for effect in (
        execute("make"),
        Effect("write", "w", paths=("/etc/hosts",)),
        Effect("write", "w", paths=("/p/.git/config",)),
        Effect("fetch", "f", host="example.org"),
        Effect("mcp", "m", tool="db__drop"),
    ):
        assert judge(effect, "full", (), ROOTS, OWN).decision == "allow"
    own = Effect("write", "w", paths=(f"{OWN[0]}/config.toml",))
    assert judge(own, "full", (), ROOTS, OWN).decision == "ask"


@pytest.mark.parametrize(
    ("roots", "home", "expected"),
    [
        (("/home/u/p",), "/home/u", True),
        (("/home/u/p", "/srv/x"), "/home/u", True),
        (("/srv",), "", True),
        (("/home/u",), "/home/u", False),
        (("/home",), "/home/u", False),
        (("/home/u/p", "/"), "/home/u", False),
        (("/",), "", False),
        ((), "/home/u", False),
    ],
)
def test_a_sandbox_around_the_home_folder_is_none(
    roots: tuple[str, ...], home: str, *, expected: bool
) -> None:
    assert confinable(roots, home) is expected


@pytest.mark.parametrize(
    ("output", "why"),
    [
        ("touch: cannot touch '/x': Read-only file system\n", "outside the workspace"),
        ("OSError: [Errno 30] EROFS\n", "outside the workspace"),
        ("cat: .env: Permission denied\n", "denied access"),
        ("fatal: unable to access 'https://x/': Could not resolve host: x\n", "the network"),
        ("npm ERR! code EAI_AGAIN\n", "the network"),
        (
            "bwrap: Can't mount proc on /newroot/proc: Operation not permitted\n",
            "could not be made: bwrap: Can't",
        ),
        ("hermes-editor-sandbox: [Errno 1] no\n", "could not be made: hermes-editor-sandbox"),
        ("1 failed, 3 passed\n", ""),
        ("", ""),
    ],
)
def test_output_is_read_for_the_traces_of_the_sandbox(output: str, why: str) -> None:
    said = blame(output)
    assert (why in said) if why else said == ""


def test_a_long_output_is_searched_at_its_end_only() -> None:
    assert blame("Read-only file system\n" + "x" * 1_000_000) == ""
    assert blame("x" * 1_000_000 + "\nRead-only file system\n")
