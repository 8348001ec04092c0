"""The table of rules: the answers that the user gave for longer than once."""

from __future__ import annotations

import builtins

from hermes_acp.policy.rules.rules import Origin, Rule
from hermes_acp.storage.database import Database, Row
from hermes_acp.storage.sessions import Whereabouts

COLUMNS = (
    "rule_id, decision, effect, match, cwd, scope, created_at, project, session_id, client, request, "
    "form, rests_on, digest"
)
OLDEST_FIRST = "ORDER BY created_at, rule_id"


class Rules:
    """Reads and writes rules. All methods raise `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, rule: Rule) -> None:
        """Keep a rule, on disk when it returns.

        The older one stays when both mean the same, and rests from then on what the newer one rests on.
        """
        origin = rule.origin
        await self._database.write(
            f"INSERT INTO rules ({COLUMNS}) VALUES ({', '.join('?' * 14)}) ON CONFLICT DO UPDATE SET "
            "digest = excluded.digest, created_at = excluded.created_at, client = excluded.client, "
            "request = excluded.request WHERE digest <> excluded.digest",
            (
                rule.rule_id,
                rule.decision,
                rule.effect,
                rule.match,
                rule.cwd,
                rule.scope,
                rule.created_at,
                origin.project,
                origin.session_id,
                origin.client,
                origin.request,
                rule.form,
                rule.rests_on,
                rule.digest,
            ),
        )

    async def list(self, project: str, session_id: str) -> list[Rule]:
        """What holds in a session: the rules for everywhere, of its project and its own, oldest first."""
        rows = await self._database.fetch(
            f"SELECT {COLUMNS} FROM rules WHERE (scope = 'project' AND project = ?) "
            f"OR (scope = 'session' AND session_id = ?) OR scope = 'everywhere' {OLDEST_FIRST}",
            (project, session_id),
        )
        return [_rule(row) for row in rows]

    async def list_all(self) -> builtins.list[Rule]:
        """The rules of all projects and sessions, oldest first."""
        return [
            _rule(row) for row in await self._database.fetch(f"SELECT {COLUMNS} FROM rules {OLDEST_FIRST}")
        ]

    async def move(self, old: Whereabouts, new: Whereabouts) -> None:
        """The project lives in another place now; its rules hold for the same folders of it."""
        await self._database.write(
            "UPDATE OR REPLACE rules SET project = ?3, cwd = "
            "CASE WHEN cwd = ?2 OR substr(cwd, 1, length(?2) + 1) = ?2 || '/' "
            "THEN ?4 || substr(cwd, length(?2) + 1) ELSE cwd END WHERE project = ?1",
            (old.key, old.root, new.key, new.root),
        )

    async def promote(self, rule_id: str) -> bool:
        """Let a rule hold everywhere; False when there was none with this id."""
        changed = "UPDATE OR REPLACE rules SET scope = 'everywhere' WHERE rule_id = ?"
        return await self._database.write(changed, (rule_id,)) > 0

    async def revoke(self, rule_id: str) -> bool:
        """Remove a rule; False when there was none with this id."""
        return await self._database.write("DELETE FROM rules WHERE rule_id = ?", (rule_id,)) > 0


def _rule(row: Row) -> Rule:
    rule_id, decision, effect, match, cwd, scope, created_at, *rest = row
    project, session_id, client, request, form, rests_on, digest = rest
    origin = Origin(project, session_id, client, request)
    return Rule(rule_id, decision, effect, match, cwd, scope, created_at, origin, form, rests_on, digest)
