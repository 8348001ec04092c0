-- Rules that cover more than one text, hold everywhere, ask, and rest on the contents of files. SQLite cannot
-- change the checks of a table, so it is made anew.

DROP TRIGGER rules_end_with_session;
DROP INDEX rules_of_project;
DROP INDEX rules_of_session;
ALTER TABLE rules RENAME TO rules_before;

CREATE TABLE rules (
    rule_id    TEXT PRIMARY KEY,
    decision   TEXT NOT NULL CHECK (decision IN ('allow', 'ask', 'deny')),
    effect     TEXT NOT NULL CHECK (effect IN ('read', 'write', 'execute', 'fetch', 'mcp')),
    match      TEXT NOT NULL,
    cwd        TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('session', 'project', 'everywhere')),
    created_at REAL NOT NULL,
    project    TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client     TEXT NOT NULL,
    request    TEXT NOT NULL,
    form       TEXT NOT NULL DEFAULT 'exact' CHECK (form IN ('exact', 'meaning', 'pattern')),
    rests_on   TEXT NOT NULL DEFAULT '',
    digest     TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

INSERT INTO rules (rule_id, decision, effect, match, cwd, scope, created_at, project, session_id, client, request)
SELECT rule_id, decision, effect, match, cwd, scope, created_at, project, session_id, client, request FROM rules_before;

DROP TABLE rules_before;

-- One row for each meaning: a rule that was learned twice must be gone after one revocation.
CREATE UNIQUE INDEX rules_of_project ON rules (project, effect, form, match, cwd, rests_on, decision)
WHERE scope = 'project';
CREATE UNIQUE INDEX rules_of_session ON rules (session_id, effect, form, match, cwd, rests_on, decision)
WHERE scope = 'session';
CREATE UNIQUE INDEX rules_of_everywhere ON rules (effect, form, match, cwd, rests_on, decision)
WHERE scope = 'everywhere';

CREATE TRIGGER rules_end_with_session AFTER DELETE ON sessions
BEGIN
    DELETE FROM rules WHERE scope = 'session' AND session_id = OLD.session_id;
END;
