"""`hermes-editor memory`: the owner looks at facts, asks why, changes them, and takes them back."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

import pytest

from hermes_acp import config
from hermes_acp.cli.memory import command
from hermes_acp.cli.memory.desk import opened
from hermes_acp.cli.project import command as project
from hermes_acp.memory.facts.changes import Change, Observe, Remember
from hermes_acp.memory.facts.fact import Evidence, moment
from hermes_acp.workspace.worktrees.worktrees import Place
from tests.cli.sessions_home import Home, row
from tests.workspace.repos import ENV, Repo, make

Captured = pytest.CaptureFixture[str]
SAID = "please fix it"


class Owner(Home):
    """A home with a project, of which something may be remembered."""

    @property
    def folder(self) -> Path:
        return self.path.parent / "project" / "repo"

    def memory(self, *words: str, editor: str = "") -> int:
        """The command in this process, in the project; its exit code."""
        parser = argparse.ArgumentParser()
        command.register(parser.add_subparsers())
        args = parser.parse_args(["memory", *words, "--cwd", str(self.folder)])
        return command.run(args, {**self.env, "PATH": "/usr/bin:/bin", "EDITOR": editor})

    def learn(self, *changes: Change) -> list[str]:
        """Have this remembered by a session; the ids."""

        paths = config.paths(self.env)

        async def learn() -> list[str]:
            async with opened(str(self.folder), paths, self.env) as desk:
                ground = await desk.grounds.at(desk.cwd, "s1", writing=True)
                return list((await desk.facts.apply(ground.place, changes, "s1")).ids)

        return asyncio.run(learn())


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    make(tmp_path / "project", {"a.py": "1\n"})
    return Owner(tmp_path / "home")


def rule(text: str, key: str = "", **more: object) -> Remember:
    return Remember("preference", text, key, "user", **more)  # type: ignore[arg-type]


def test_nothing_is_known_before_the_first_session(owner: Owner, capsys: Captured) -> None:
    assert owner.memory("list") == 0
    assert capsys.readouterr().out == "Nothing is remembered here yet.\n"
    assert owner.memory("why", "abcdef") == 1
    assert "There is no fact 'abcdef' here" in capsys.readouterr().err


def test_a_list_has_what_holds_and_what_is_proposed_and_json_has_all_of_it(
    owner: Owner, capsys: Captured
) -> None:
    proposal = Remember("environment", "CI has no network.", proposed=True)
    ids = owner.learn(rule("Use pnpm."), proposal, rule("Answer briefly.", reach="user"))
    assert owner.memory("list") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{ids[0][-6:].lower()}  preference, in the project: Use pnpm.",
        f"{ids[2][-6:].lower()}  preference, in all projects: Answer briefly.",
        f"{ids[1][-6:].lower()}  environment, in the project (proposed): CI has no network.",
    ]
    assert owner.memory("list", "--json") == 0
    assert [(item["id"], item["status"]) for item in json.loads(capsys.readouterr().out)] == [
        (ids[0], "active"),
        (ids[2], "active"),
        (ids[1], "proposed"),
    ]


def test_why_shows_the_words_with_session_and_event(owner: Owner, capsys: Captured) -> None:
    owner.hold(row(1))
    [fact_id] = owner.learn(rule("Fix it at once.", evidence=(Evidence("s1", 2, SAID),)))
    assert owner.memory("why", fact_id[-6:]) == 0
    assert f"“{SAID}” (session s1, event 2" in capsys.readouterr().out


def test_a_proposal_holds_once_the_owner_confirms_it(owner: Owner, capsys: Captured) -> None:
    [fact_id] = owner.learn(Remember("environment", "CI has no network.", proposed=True))
    assert owner.memory("show") == 0
    assert "CI" not in capsys.readouterr().out
    assert owner.memory("confirm", fact_id) == 0
    assert owner.memory("show") == 0
    assert f"- CI has no network. ^{fact_id[-6:].lower()}" in capsys.readouterr().out


def test_revert_takes_back_what_was_concluded_too_and_the_page_is_as_before(
    owner: Owner, capsys: Captured
) -> None:
    owner.learn(rule("Use npm.", "package manager"))
    owner.memory("show")
    before = capsys.readouterr().out
    [fact_id] = owner.learn(rule("Use pnpm.", "package manager"))
    owner.learn(rule("Run pnpm install first.", derived_from=(fact_id,)))
    assert owner.memory("revert", fact_id) == 0
    capsys.readouterr()
    owner.memory("show")
    assert capsys.readouterr().out == before
    assert owner.memory("revert", fact_id) == 1


def test_a_change_can_be_looked_at_and_reverted_by_its_id(owner: Owner, capsys: Captured) -> None:
    [fact_id] = owner.learn(rule("Use pnpm."))
    assert owner.memory("edit", fact_id, "--text", "Use pnpm 9.") == 0
    capsys.readouterr()
    assert owner.memory("log", "--json") == 0
    changes = json.loads(capsys.readouterr().out)
    assert [item["session"] for item in changes] == ["", "s1"]
    assert owner.memory("diff", changes[0]["change"]) == 0
    assert [
        line
        for line in capsys.readouterr().out.splitlines()
        if line[1:].startswith("Use") and line[0] in "+-"
    ] == ["-Use pnpm.", "+Use pnpm 9."]
    assert owner.memory("revert", changes[0]["change"]) == 0
    assert owner.memory("show", fact_id) == 0
    assert capsys.readouterr().out.endswith("\nUse pnpm.\n")


def test_the_page_is_edited_in_the_editor(owner: Owner, capsys: Captured, tmp_path: Path) -> None:
    owner.learn(rule("Use npm."), rule("Write long commits."))
    script = tmp_path / "editor.py"
    script.write_text(
        "import pathlib, sys\n"
        "page = pathlib.Path(sys.argv[1])\n"
        "lines = page.read_text().replace('Use npm.', 'Use pnpm.').splitlines()\n"
        "page.write_text('\\n'.join(line for line in lines if 'long' not in line) + '\\n- Be kind.\\n')\n"
    )
    assert owner.memory("edit", editor=f"{sys.executable} {script}") == 0
    capsys.readouterr()
    owner.memory("list", "--json")
    texts = sorted(item["text"] for item in json.loads(capsys.readouterr().out))
    assert texts == ["Be kind.", "Use pnpm."]


def test_a_secret_is_never_written_down(owner: Owner, capsys: Captured) -> None:
    [fact_id] = owner.learn(rule("Use npm."))
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
    assert owner.memory("edit", fact_id, "--text", f"Push with {token}") == 1
    assert "memory keeps none" in capsys.readouterr().err


def test_forgetting_needs_a_yes_removes_every_byte_and_names_what_stays(
    owner: Owner, capsys: Captured
) -> None:
    owner.hold(row(1))
    [fact_id] = owner.learn(rule("The word is Zaphod.", evidence=(Evidence("s1", 2, SAID),)))
    assert owner.memory("forget", fact_id) == 1
    assert "answer y, or add --yes" in capsys.readouterr().err
    assert owner.memory("forget", fact_id, "--yes") == 0
    assert "still have it (s1)" in capsys.readouterr().out
    left = [path for path in owner.path.rglob("*") if path.is_file() and b"Zaphod" in path.read_bytes()]
    assert left == []


def test_forgetting_takes_the_conversations_along_when_asked(owner: Owner, capsys: Captured) -> None:
    owner.hold(row(1), row(2))
    [fact_id] = owner.learn(rule("The word is Zaphod.", evidence=(Evidence("s1", 2, SAID),)))
    assert owner.memory("forget", fact_id, "--yes", "--sessions") == 0
    capsys.readouterr()
    assert owner.run("list", "--json") == 0
    assert [item["session_id"] for item in json.loads(capsys.readouterr().out)] == ["s2"]


def test_a_forgotten_project_takes_its_memory_along(owner: Owner, capsys: Captured) -> None:
    owner.learn(rule("The word is Zaphod."), rule("Mine is Trillian.", reach="user"))
    parser = argparse.ArgumentParser()
    project.register(parser.add_subparsers())
    args = parser.parse_args(["project", "forget", "--cwd", str(owner.folder), "--yes"])
    assert project.run(args, owner.env) == 0
    capsys.readouterr()
    assert owner.memory("list") == 0
    assert [line.rpartition(": ")[2] for line in capsys.readouterr().out.splitlines()] == [
        "Mine is Trillian."
    ]
    left = [path for path in owner.path.rglob("*") if path.is_file() and b"Zaphod" in path.read_bytes()]
    assert left == []


PNPM = "Manages JavaScript packages with pnpm."


def spoken(times: int, text: str = PNPM) -> list[Observe]:
    """Sessions that speak for a claim about the user."""
    at = moment(time.time())
    return [
        Observe(
            "profile: javascript packages",
            "environment",
            text,
            (Evidence(f"s{number}", 2, "Hello", at=at),),
        )
        for number in range(1, times + 1)
    ]


def profiled(owner: Owner, capsys: Captured) -> list[tuple[str, str]]:
    """Each claim with what becomes of it."""
    assert owner.memory("profile", "--json") == 0
    return [(item["text"], item["state"]) for item in json.loads(capsys.readouterr().out)]


def test_a_profile_shows_claims_that_are_listed_explained_edited_and_forgotten_as_facts_are(
    owner: Owner, capsys: Captured
) -> None:
    owner.hold(row(1), row(2), row(3))
    fact_id = owner.learn(*spoken(2))[0]
    assert owner.memory("list") == 0
    assert owner.memory("list", "--user") == 0
    nothing, listed = capsys.readouterr().out.splitlines()
    assert nothing == "Nothing is remembered here yet."
    assert listed.endswith(f"environment, in all projects (proposed): {PNPM}")
    owner.learn(*spoken(3))
    assert profiled(owner, capsys) == [(PNPM, "holds")]
    assert owner.memory("why", fact_id) == 0
    assert capsys.readouterr().out.count("evidence: “Hello” (session s") == 3
    assert owner.memory("show") == 0
    assert PNPM in capsys.readouterr().out
    assert owner.memory("edit", fact_id, "--text", "Prefers pnpm.") == 0
    capsys.readouterr()
    assert profiled(owner, capsys) == [("Prefers pnpm.", "settled")]
    assert owner.memory("forget", fact_id, "--yes") == 0
    capsys.readouterr()
    assert profiled(owner, capsys) == []


def test_without_a_claim_the_profile_says_where_claims_come_from(owner: Owner, capsys: Captured) -> None:
    assert owner.memory("profile") == 0
    assert (
        capsys.readouterr().out == "Nothing is known about you yet: it comes from your sessions, with time.\n"
    )


def test_at_a_commit_without_a_branch_the_list_has_what_was_learned_there_and_counts_the_rest(
    owner: Owner, capsys: Captured
) -> None:
    repo = Repo(owner.folder, Place(str(owner.folder), "", ENV))
    repo.git("switch", "-q", "--detach")
    [here] = owner.learn(Remember("decision", "SQLite.", author="user"))
    line = f"{here[-6:].lower()}  decision, at a commit without a branch: SQLite.\n"
    assert owner.memory("list") == 0
    assert capsys.readouterr() == (line, "")
    repo.write("a.py", "2\n")
    repo.commit("On")
    assert owner.memory("list") == 0
    printed = capsys.readouterr()
    assert printed.out == "Nothing is remembered here yet.\n"
    assert "(1): --all shows it." in printed.err
    repo.git("switch", "-q", "main")
    assert owner.memory("list") == 0
    assert capsys.readouterr() == ("Nothing is remembered here yet.\n", "")


def test_an_edit_by_hand_that_a_change_left_behind_is_told_of_once_and_stays(
    owner: Owner, capsys: Captured
) -> None:
    [fact_id] = owner.learn(rule("Use npm."))
    [file] = owner.path.glob(f"data/projects/*/memory/project/facts/{fact_id}.md")
    file.write_text(f"{file.read_text()}or yarn\n")
    assert owner.memory("list") == 0
    assert capsys.readouterr().err == ""
    owner.learn(rule("Be brief."))
    assert capsys.readouterr().err == ""
    assert owner.memory("edit", fact_id, "--text", "Use pnpm.") == 0
    said = capsys.readouterr().err
    assert said.startswith(f"{file} was edited by hand, and its fact has changed since.")
    assert f"`hermes-editor memory show {fact_id[-6:].lower()}`" in said
    assert owner.memory("list") == 0
    assert capsys.readouterr().err == ""
    assert file.read_text().endswith("or yarn\n")
    file.unlink()
    assert owner.memory("edit", fact_id, "--text", "Use bun.") == 0
    assert capsys.readouterr().err == ""
    assert file.read_text().endswith("Use bun.\n")


@pytest.mark.parametrize(
    ("editor", "why"),
    [
        ("", "No editor is known"),
        (" ", "No editor is known"),
        ("'vi", "The editor 'vi cannot be used: no closing quotation."),
        ("no-such-editor", "The editor no-such-editor cannot be used: no such file or directory."),
        ("false", "false ended with 1: nothing was changed."),
    ],
)
def test_an_editor_that_does_not_work_changes_nothing_and_is_explained(
    owner: Owner, capsys: Captured, editor: str, why: str
) -> None:
    [fact_id] = owner.learn(rule("Use npm."))
    assert owner.memory("edit", fact_id, editor=editor) == 1
    assert capsys.readouterr().err.startswith(why)


def test_what_is_neither_a_fact_nor_a_change_is_told_from_both(owner: Owner, capsys: Captured) -> None:
    [fact_id] = owner.learn(rule("Use npm."))
    assert owner.memory("revert", "nothing") == 1
    assert "There is no fact or change 'nothing' here" in capsys.readouterr().err
    assert owner.memory("edit", fact_id, "--text", " ") == 1
    assert f"`hermes-editor memory retract {fact_id[-6:].lower()}`" in capsys.readouterr().err
    assert owner.memory("import", str(owner.path / "missing")) == 1
    assert "missing cannot be read: no such file or directory." in capsys.readouterr().err
