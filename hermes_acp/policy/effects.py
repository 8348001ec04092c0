"""Effects: what a tool wants to do to the world, and the permit that lets it."""

from __future__ import annotations

from typing import Literal, TypeAlias

from hermes_acp.policy.sandbox import Confinement
from hermes_acp.records import record

Mode: TypeAlias = Literal["ask", "plan", "accept_edits", "auto", "full"]

EffectKind: TypeAlias = Literal["read", "write", "execute", "fetch", "mcp"]


@record
class Effect:
    """One thing that may need permission.

    `paths` are absolute and resolved (no `..`, no links) for read and write; `command` is the exact
    text that will run; `tool` is `server__tool` for MCP, whose `read_only` is the server's claim; `server`
    says what stands behind that name: it is another one for another program or address;
    `host` is the name a fetch connects to; `altered` names what earlier commands have changed in the shell
    that may give this command another meaning than its text has in a new one (`alias ls`, `variable PATH`).
    `outside` says why a command has to run outside the sandbox; empty where it need not.
    """

    kind: EffectKind
    summary: str
    paths: tuple[str, ...] = ()
    command: str = ""
    cwd: str = ""
    tool: str = ""
    read_only: bool = False
    server: str = ""
    host: str = ""
    altered: tuple[str, ...] = ()
    outside: str = ""


@record
class Permit:
    """Proof that an effect passed the policy; only `agent.approvals` makes one.

    Whatever writes, runs or fetches takes a permit and refuses one for something else. A command whose
    permit has a `confinement` runs in the sandbox, or not at all.
    """

    effect: Effect
    confinement: Confinement | None = None

    def check_write(self, path: str) -> None:
        """Raise `PermitMismatch` unless this permit covers writing the resolved `path`."""
        if self.effect.kind != "write" or path not in self.effect.paths:
            raise PermitMismatch(f"no permit to write {path}")

    def check_command(self, command: str) -> None:
        """Raise `PermitMismatch` unless this permit covers running exactly `command`."""
        if self.effect.kind != "execute" or command != self.effect.command:
            raise PermitMismatch(f"no permit to run {command!r}")

    def check_tool(self, tool: str) -> None:
        """Raise `PermitMismatch` unless this permit covers calling the MCP tool `tool`."""
        if self.effect.kind != "mcp" or tool != self.effect.tool:
            raise PermitMismatch(f"no permit to call {tool!r}")


class PermitMismatch(Exception):
    """A bug of ours: something tried to do more than was permitted."""


class Refused(Exception):
    """The effect may not happen; `str()` is a sentence for the model that says who decided.

    `unanswered` tells "nobody was there to answer" apart from a real no.
    """

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered = unanswered
