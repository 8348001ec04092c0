"""Where paths lie: inside the workspace or not, and which files nobody changes or reads without a question.

Everything here compares text only; paths are absolute and resolved. Whether a file exists plays no
part: a protected file that does not exist yet is as dangerous as one that does.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Mapping

AT_START = "code that Python runs at every start"
INSTRUCTIONS = "instructions for agents"
RUNS = "settings that run programs"

FOLDERS: Mapping[str, str] = {
    **dict.fromkeys((".git", "git~1", ".hg", ".svn", ".jj"), "version control data"),
    **dict.fromkeys((".hermes",), "agent settings"),
    **dict.fromkeys(
        (".vscode", ".vscode-server", ".idea", ".zed", ".fleet", ".vs", ".helix", ".devcontainer"),
        "editor settings",
    ),
    **dict.fromkeys((".vim", ".nvim", ".emacs.d"), "editor settings"),
    **dict.fromkeys((".agents", ".claude", ".codex", ".continue", ".cursor", ".gemini"), "agent settings"),
    **dict.fromkeys(
        (".kiro", ".opencode", ".windsurf", ".amazonq", ".augment", ".clinerules"), "agent settings"
    ),
    **dict.fromkeys((".goose", ".junie", ".kilocode", ".qwen", ".roo", ".trae"), "agent settings"),
    **dict.fromkeys((".ssh", ".gnupg", ".aws", ".azure", ".kube", ".password-store"), "credentials"),
    **dict.fromkeys(
        (".azure-pipelines", ".buildkite", ".circleci", ".semaphore", ".teamcity", ".woodpecker"),
        "a CI workflow",
    ),
    **dict.fromkeys((".husky", ".githooks", ".lefthook"), "a git hook"),
}
"""Names that protect everything below them, and themselves when they are files; what they hold."""

NESTED_FOLDERS: Mapping[tuple[str, str], str] = {
    **{
        (forge, inner): "a CI workflow"
        for forge in (".github", ".gitea", ".forgejo")
        for inner in ("workflows", "actions")
    },
    (".cargo", "config"): RUNS,
    (".cargo", "config.toml"): RUNS,
    (".config", "autostart"): "a startup file",
    (".config", "environment.d"): "a startup file",
    (".config", "fish"): "a startup file",
    (".config", "gcloud"): "credentials",
    (".config", "gh"): "credentials",
    (".config", "git"): "version control data",
    (".config", "nushell"): "a startup file",
    (".config", "nvim"): "editor settings",
    (".config", "systemd"): "a startup file",
    (".config", "zed"): "editor settings",
    (".docker", "config.json"): "credentials",
    (".github", "copilot-instructions.md"): INSTRUCTIONS,
    (".github", "instructions"): INSTRUCTIONS,
    ("library", "launchagents"): "a startup file",
    ("sitecustomize", "__init__.py"): AT_START,
    ("usercustomize", "__init__.py"): AT_START,
}
"""The same for two names in a row."""

_STARTUP = (
    *(".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases", ".profile"),
    *(".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".kshrc", ".cshrc", ".tcshrc", ".login"),
    *(".envrc", ".gdbinit", ".ghci", ".lldbinit", ".pdbrc", ".rprofile", ".tmux.conf"),
    *(".inputrc", ".pam_environment", ".xinitrc", ".xprofile", ".xsession", ".xsessionrc"),
    "config.fish",
)
_HOOK_FILES = (
    *(".pre-commit-config.yaml", ".pre-commit-config.yml", ".pre-commit-hooks.yaml", ".overcommit.yml"),
    *(".huskyrc", ".huskyrc.js", ".huskyrc.json", ".lintstagedrc", ".lintstagedrc.js", ".lintstagedrc.json"),
    *(".simple-git-hooks.js", ".simple-git-hooks.cjs", ".simple-git-hooks.json", "captainhook.json"),
    *(
        f"{dot}lefthook{local}.{ending}"
        for dot, local, ending in itertools.product(
            ("", "."), ("", "-local"), ("yml", "yaml", "toml", "json", "jsonc")
        )
    ),
)

FILES: Mapping[str, str] = {
    **dict.fromkeys((".gitconfig", ".gitmodules", ".hgrc"), "version control data"),
    **dict.fromkeys(
        (".dir-locals.el", ".exrc", ".nvim.lua", ".nvimrc", ".vimrc", ".emacs"), "editor settings"
    ),
    **dict.fromkeys((".devcontainer.json",), "editor settings"),
    **dict.fromkeys((".mcp.json", ".claude.json", ".aider.conf.yml", ".roomodes"), "agent settings"),
    **dict.fromkeys((".hermes.md", "agents.md", "claude.md", "gemini.md"), INSTRUCTIONS),
    **dict.fromkeys((".cursorrules", ".goosehints", ".windsurfrules"), INSTRUCTIONS),
    **dict.fromkeys((".npmrc", ".pnpmfile.cjs", ".yarnrc", ".yarnrc.yml"), RUNS),
    **dict.fromkeys((".mise.toml", "mise.toml"), RUNS),
    **dict.fromkeys((".netrc", ".git-credentials", ".pypirc"), "credentials"),
    **dict.fromkeys(_STARTUP, "a startup file"),
    **dict.fromkeys(_HOOK_FILES, "a git hook"),
    **dict.fromkeys((".gitlab-ci.yml", ".gitlab-ci.yaml", ".travis.yml", ".drone.yml"), "a CI workflow"),
    **dict.fromkeys((".cirrus.yml", ".appveyor.yml", "appveyor.yml", "jenkinsfile"), "a CI workflow"),
    **dict.fromkeys(("azure-pipelines.yml", "bitbucket-pipelines.yml", "cloudbuild.yaml"), "a CI workflow"),
    **dict.fromkeys(("sitecustomize.py", "usercustomize.py"), AT_START),
}
"""Protected file names, wherever they are."""

ENDINGS: Mapping[str, str] = {
    ".code-workspace": "editor settings",
    ".sublime-project": "editor settings",
    ".pth": AT_START,
}
"""Protected endings of file names."""

OWN_DATA = "data of hermes-editor itself"

_SECRET = re.compile(
    r"""
      \.env(?!\.(?:dist|example|sample|template|defaults?)$)(?:\..*|rc)? | .*\.env
    | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|ovpn|tfstate|tfvars)(?:\.\w+)?
    | id_(?:rsa|dsa|ecdsa|ed25519)(?:[._-].*)?(?<!\.pub)
    | \.(?:netrc|npmrc|pypirc|pgpass|my\.cnf|git-credentials|dockercfg|htpasswd)
    | \.?(?:credentials?|secrets?|passwords?|passwd|shadow|tokens?)
      (?:\.(?:json|ya?ml|txt|toml|ini|cfg|conf|csv|xml|properties|enc|bak))?
    | (?:service[-_]account|client[-_]secret|application_default_credentials).*\.json
    | kubeconfig | .*\.kubeconfig | \.(?:bash|zsh|python|node_repl|psql|mysql|sqlite)_history
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Names of files that usually hold keys and passwords."""


def resolved(path: str) -> bool:
    """Whether the text can be the resolved path that an effect has to name."""
    return path.startswith("/") and ".." not in path.split("/")


def inside(path: str, folders: Iterable[str]) -> bool:
    """Whether `path` is one of `folders` or below one; never for a path that is not resolved."""
    if not resolved(path):
        return False
    return any(folder and (path == folder or path.startswith(folder.rstrip("/") + "/")) for folder in folders)


def protection(path: str, own: Iterable[str]) -> str | None:
    """What makes `path` protected ("version control data"), None for an ordinary path.

    `own` are the folders of this program, as real paths; the worktrees that it keeps there for sessions
    are none of its data. Names compare as the most forgiving file system would compare them, so that no
    spelling reaches a protected file on any of them.
    """
    names = _names(path)
    if any(_is_own(names, _names(folder)) for folder in own if folder):
        return OWN_DATA
    for name in names:
        if name in FOLDERS:
            return FOLDERS[name]
    for pair in itertools.pairwise(names):
        if pair in NESTED_FOLDERS:
            return NESTED_FOLDERS[pair]
    name = names[-1] if names else ""
    return FILES.get(name) or next((what for end, what in ENDINGS.items() if name.endswith(end)), None)


def secret(path: str) -> bool:
    """Whether the names in the path are those of files that hold keys and passwords."""
    *folders, name = _names(path) or ("",)
    if _SECRET.fullmatch(name):
        return True
    held = (FOLDERS.get(folder) for folder in folders)
    pairs = (NESTED_FOLDERS.get(pair) for pair in itertools.pairwise((*folders, name)))
    return "credentials" in (*held, *pairs)


def reserve(path: str, own: Iterable[str]) -> str | None:
    """Why a file of the workspace is not read without a question, None for an ordinary one."""
    what = protection(path, own)
    if what == OWN_DATA:
        return f"is protected ({what})"
    return "may hold secrets" if what == "credentials" or secret(path) else None


def _names(path: str) -> tuple[str, ...]:
    return tuple(_folded(name) for name in path.replace("\\", "/").split("/") if name)


def _is_own(names: tuple[str, ...], folder: tuple[str, ...]) -> bool:
    """Whether a path is in a folder of ours, but not in a worktree: `projects/ID/worktrees/NAME/…`."""
    if names[: len(folder)] != folder:
        return False
    match names[len(folder) :]:
        case ("projects", _, "worktrees", name, *_):
            return name.startswith(".")
        case _:
            return True


def _folded(name: str) -> str:
    """One spelling for all that some file system takes for the same name.

    macOS ignores case and, on older volumes, invisible characters; Windows disks (seen from WSL)
    ignore case, dots and blanks at the end, and read what follows a colon as a stream of the file.
    """
    if name.isascii():
        name = name.lower()
    else:
        name = unicodedata.normalize("NFKC", name).casefold()
        name = "".join(char for char in name if unicodedata.category(char) != "Cf")
    return name.split(":", 1)[0].rstrip(". ") or name
