"""What a command in the sandbox may reach, and what its output says about the sandbox. Compares text only."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hermes_acp.policy.paths import inside
from hermes_acp.records import record

SECRETS_AT_HOME = (
    *(".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".password-store", ".oci", ".vault-token"),
    *(".netrc", ".pgpass", ".my.cnf", ".npmrc", ".yarnrc.yml", ".pypirc", ".git-credentials", ".boto"),
    *(".config/gh", ".config/glab-cli", ".config/hub", ".config/git/credentials", ".config/gcloud"),
    *(".config/op", ".config/rclone", ".config/sops", ".config/age", ".config/containers/auth.json"),
    *(".config/doctl", ".config/fly", ".fly", ".config/heroku", ".terraform.d", ".terraformrc"),
    *(".cargo/credentials", ".cargo/credentials.toml", ".gem/credentials", ".m2/settings.xml"),
    *(".gradle/gradle.properties", ".composer/auth.json", ".config/composer/auth.json"),
    *(".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware"),
    *(".config/microsoft-edge", ".config/vivaldi", ".config/opera", ".local/share/keyrings"),
    *(".local/share/kwalletd", ".config/Signal", ".config/Slack", ".config/discord", "snap/firefox"),
    *(
        ".claude",
        ".claude.json",
        ".codex",
        ".gemini",
        ".config/github-copilot",
        ".Xauthority",
        ".ICEauthority",
    ),
    *(".bash_history", ".zsh_history", ".python_history", ".node_repl_history", ".psql_history"),
    *(".mysql_history", ".sqlite_history", ".lesshst", ".local/share/fish/fish_history"),
)
"""Files and folders of the home folder that no command in the sandbox can read."""

SECRETS_OF_THE_SYSTEM = ("/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/ssh", "/etc/ssl/private")
"""The same for the system, where whoever runs us may read them."""

IN_THE_SANDBOX = "Runs in the sandbox, where it can change the workspace and nothing else."

BLAMED_CHARS = 64 * 1024
"""Characters at the end of an output that are searched for the sandbox's traces."""

_BLAMED = re.compile(
    r"""
      (?P<files>Read-only\ file\ system|EROFS)
    | (?P<access>Permission\ denied|EACCES|Operation\ not\ permitted|EPERM|Device\ or\ resource\ busy
      |EXDEV|Invalid\ cross-device\ link)
    | (?P<network>Network\ is\ unreachable|ENETUNREACH|Temporary\ failure\ in\ name\ resolution|EAI_AGAIN
      |Could\ not\ resolve\ host|Name\ or\ service\ not\ known|getaddrinfo\ (?:ENOTFOUND|failed)
      |Failed\ to\ resolve|no\ such\ host|dial\ tcp|failed\ to\ lookup\ address)
    | (?P<launcher>^(?:bwrap|hermes-editor-sandbox):\ .{1,200})
    """,
    re.VERBOSE | re.MULTILINE,
)
_BLAME = {
    "files": "it wanted to change something outside the workspace, or something protected in it",
    "access": "it was denied access to something",
    "network": "it wanted the network, which the sandbox does not have",
}


@record
class Confinement:
    """What a command may change (`roots`), and what it may not even see (`hidden`): real paths.

    Everything else it can read. `network`: whether it has the machine's network, whole or not at all.
    """

    roots: tuple[str, ...]
    hidden: tuple[str, ...] = ()
    network: bool = False


def confinable(roots: Iterable[str], home: str) -> bool:
    """Whether a sandbox around these folders would keep anything out: not when the home folder is in one."""
    roots = tuple(roots)
    return bool(roots) and not any(root == "/" or (home and inside(home, (root,))) for root in roots)


def blame(output: str) -> str:
    """What in the output of a failed command may come from the sandbox, as a clause; empty for nothing."""
    found = {match.lastgroup: match[0] for match in _BLAMED.finditer(output[-BLAMED_CHARS:])}
    if "launcher" in found:
        return f"the sandbox could not be made: {found['launcher']}"
    return next((why for group, why in _BLAME.items() if group in found), "")
