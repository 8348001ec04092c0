"""Inside or outside, protected or not: by text alone, in every spelling."""

from __future__ import annotations

import pytest

from hermes_acp.policy.paths import inside, protection, reserve, secret

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
        ("/p/.hu\u0073ky/pre-commit", "a git hook"),
        ("/p/.simple-git-hooks.json", "a git hook"),
        ("/p/.lintstagedrc", "a git hook"),
        ("/p/lib/sitecustomize/__init__.py", "code that Python runs at every start"),
        ("/p/.npmrc", "settings that run programs"),
        ("/p/.yarnrc.yml", "settings that run programs"),
        ("/p/.cargo/config.toml", "settings that run programs"),
        ("/p/AGENTS.md", "instructions for agents"),
        ("/p/sub/CLAUDE.md", "instructions for agents"),
        ("/p/.cursorrules", "instructions for agents"),
        ("/p/.github/copilot-instructions.md", "instructions for agents"),
        ("/p/.roo/rules.md", "agent settings"),
        ("/p/.gdbinit", "a startup file"),
        ("/p/.envrc. ", "a startup file"),
        ("/p/.e\u200dnvrc", "a startup file"),
        ("/home/u/.config/gh/hosts.yml", "credentials"),
        ("/home/u/.docker/config.json", "credentials"),
        ("/home/u/.config/hermes-editor", "data of hermes-editor itself"),
        ("/HOME/U/.Config/Hermes-Editor/config.toml", "data of hermes-editor itself"),
        ("/data/sessions.db", "data of hermes-editor itself"),
        ("/p/src/main.py", None),
        ("/p/.cargo/registry/x", None),
        ("/p/.docker/Dockerfile", None),
        ("/p/docs/agents.md.txt", None),
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


@pytest.mark.parametrize(
    "path",
    [
        "/p/.env",
        "/p/.ENV.local",
        "/p/.e\u200dnv",
        "/p/.env. ",
        "/p/config/prod.env",
        "/p/key.pem",
        "/p/id_ed25519",
        "/p/.netrc",
        "/p/.npmrc",
        "/p/credentials.json",
        "/home/u/.aws/config",
        "/home/u/.ssh/anything",
        "/home/u/.kube/config",
        "/home/u/.docker/config.json",
        "/home/u/.config/gh/hosts.yml",
        ".env",
    ],
)
def test_files_that_hold_secrets_are_known_by_their_names(path: str) -> None:
    assert secret(path)
    assert reserve(path, OWN) == "may hold secrets"


@pytest.mark.parametrize(
    "path",
    [
        "/p/.env.example",
        "/p/.env.template",
        "/p/id_rsa.pub",
        "/p/secrets.py",
        "/p/src/token.ts",
        "/p",
        "/",
        "",
    ],
)
def test_ordinary_files_are_read_without_a_question(path: str) -> None:
    assert not secret(path)
    assert reserve(path, OWN) is None


def test_our_own_data_are_not_read_without_a_question() -> None:
    assert reserve("/data/sessions.db", OWN) == "is protected (data of hermes-editor itself)"
