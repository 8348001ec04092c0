CREATE TABLE sessions (
    session_id             TEXT PRIMARY KEY,
    project                TEXT NOT NULL,
    cwd                    TEXT NOT NULL,
    real_cwd               TEXT NOT NULL,
    additional_directories TEXT NOT NULL DEFAULT '[]',
    title                  TEXT,
    mode                   TEXT NOT NULL,
    model                  TEXT NOT NULL,
    effort                 TEXT NOT NULL,
    created_at             REAL NOT NULL,
    updated_at             REAL NOT NULL
) WITHOUT ROWID;

CREATE INDEX sessions_by_time ON sessions (updated_at DESC, session_id DESC);
CREATE INDEX sessions_by_cwd ON sessions (real_cwd, updated_at DESC, session_id DESC);

CREATE TABLE events (
    session_id TEXT    NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    seq        INTEGER NOT NULL,
    turn_id    TEXT    NOT NULL,
    agent_path TEXT    NOT NULL,
    at         REAL    NOT NULL,
    data       TEXT    NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;

-- One statement writes an event and moves its session to the front of the listing.
CREATE TRIGGER events_touch_session AFTER INSERT ON events
BEGIN
    UPDATE sessions SET updated_at = max(updated_at, new.at) WHERE session_id = new.session_id;
END;
