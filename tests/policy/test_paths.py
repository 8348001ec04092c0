"""Inside or outside, protected or not: by text alone, in every spelling."""

from __future__ import annotations

import pytest

from hermes_acp.policy.paths import inside, protection

OWN = ("/home/u/.config/hermes-editor", "/data/")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/p/.git", "version control data"),
        ("/p/.git/config", "version control data"),
        ("/p/sub/.git/hooks/pre-commit", "version control data"),
        ("/p/a/.GIT/config", "version control data"),
        ("/p/.g\u200cit/config", "version control data"),
        ("/p/.\uff47\uff49\uff54/config", "version control data"),
        ("/p/GIT~1/config", "version control data"),
        ("/p/.git./config", "version control data"),
        ("/p/.git /config", "version control data"),
        ("/p/.git::$INDEX_ALLOCATION/config", "version control data"),
        ("/p/.git\\config", "version control data"),
        ("/p/.gitmodules", "version control data"),
        ("/home/u/.config/git/config", "version control data"),
        ("/p/.hermes/config.toml", "agent settings"),
        ("/p/.vscode/tasks.json", "editor settings"),
        ("/p/.idea/x.xml", "editor settings"),
        ("/p/.zed/settings.json", "editor settings"),
        ("/p/My.Code-Workspace", "editor settings"),
        ("/p/.claude/settings.json", "agent settings"),
        ("/p/.codex/config.toml", "agent settings"),
        ("/p/.cursor/mcp.json", "agent settings"),
        ("/p/.gemini/settings.json", "agent settings"),
        ("/p/.mcp.json", "agent settings"),
        ("/p/sub/.envrc", "a startup file"),
        ("/home/u/.bashrc", "a startup file"),
        ("/home/u/.ZSHENV", "a startup file"),
        ("/home/u/Library/LaunchAgents/x.plist", "a startup file"),
        ("/home/u/.ssh/authorized_keys", "credentials"),
        ("/p/.github/workflows/ci.yml", "a CI workflow"),
        ("/p/.GitHub/Workflows", "a CI workflow"),
        ("/p/.gitlab-ci.yml", "a CI workflow"),
        ("/p/Jenkinsfile", "a CI workflow"),
        ("/p/.husky/pre-commit", "a git hook"),
        ("/p/.pre-commit-config.yaml", "a git hook"),
        ("/p/lefthook.yml", "a git hook"),
        ("/p/.lefthook-local.toml", "a git hook"),
        ("/p/venv/lib/x.PTH", "code that Python runs at every start"),
        ("/p/sitecustomize.py", "code that Python runs at every start"),
        ("/home/u/.config/hermes-editor", "data of hermes-editor itself"),
        ("/HOME/U/.Config/Hermes-Editor/config.toml", "data of hermes-editor itself"),
        ("/data/sessions.db", "data of hermes-editor itself"),
        ("/p/src/main.py", None),
        ("/p/.gitignore", None),
        ("/p/.gitattributes", None),
        ("/p/git/config", None),
        ("/p/.github/README.md", None),
        ("/p/workflows/.github", None),
        ("/p/x.pth.txt", None),
        ("/p/..git/x", None),
        ("/p/lefthook.yml.md", None),
        ("/home/u/.config/hermes-editor-twin", None),
        ("/database/x", None),
        ("/", None),
        ("", None),
    ],
)
def test_protected_files_are_known_in_every_spelling(path: str, what: str | None) -> None:
    assert protection(path, OWN) == what


def test_an_empty_folder_of_ours_protects_nothing() -> None:
    assert protection("/p/a", ("",)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/p", True),
        ("/p/a/b", True),
        ("/p/", True),
        ("/p/..a", True),
        ("/extra/x", True),
        ("/p2", False),
        ("/P/a", False),
        ("/p/../etc", False),
        ("/p/..", False),
        ("p/a", False),
        ("", False),
        ("/", False),
    ],
)
def test_a_path_is_inside_only_below_a_folder_and_only_when_resolved(path: str, expected: bool) -> None:
    assert inside(path, ("/p", "/extra/", "")) is expected


def test_everything_is_inside_the_root_of_the_disk() -> None:
    assert inside("/etc/x", ("/",))
