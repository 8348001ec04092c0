CREATE TABLE rules (
    rule_id    TEXT PRIMARY KEY,
    decision   TEXT NOT NULL CHECK (decision IN ('allow', 'deny')),
    effect     TEXT NOT NULL CHECK (effect IN ('read', 'write', 'execute', 'fetch', 'mcp')),
    match      TEXT NOT NULL,
    cwd        TEXT NOT NULL,
    scope      TEXT NOT NULL CHECK (scope IN ('session', 'project')),
    created_at REAL NOT NULL,
    project    TEXT NOT NULL,
    session_id TEXT NOT NULL,
    client     TEXT NOT NULL,
    request    TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each meaning: a rule that was learned twice must be gone after one revocation.
CREATE UNIQUE INDEX rules_of_project ON rules (project, effect, match, cwd, decision) WHERE scope = 'project';
CREATE UNIQUE INDEX rules_of_session ON rules (session_id, effect, match, cwd, decision) WHERE scope = 'session';

CREATE TRIGGER rules_end_with_session AFTER DELETE ON sessions
BEGIN
    DELETE FROM rules WHERE scope = 'session' AND session_id = OLD.session_id;
END;
