-- What was said in all sessions, to be searched: made from the journal, and made anew when it is missing.
-- All names begin with that of the index, so that a rebuilt database starts without any of it.
CREATE TABLE recall_projects (
    number  INTEGER PRIMARY KEY,
    project TEXT NOT NULL UNIQUE
);

-- `upto` is the last event that was looked at, `passages` how many passages came of the events so far.
CREATE TABLE recall_sessions (
    number     INTEGER PRIMARY KEY,
    session_id TEXT    NOT NULL UNIQUE REFERENCES sessions (session_id) ON DELETE CASCADE,
    project    INTEGER NOT NULL REFERENCES recall_projects (number),
    upto       INTEGER NOT NULL DEFAULT 0,
    passages   INTEGER NOT NULL DEFAULT 0
);

CREATE INDEX recall_sessions_by_project ON recall_sessions (project);

-- `place` is project, session and position (19, 22 and 22 bits): what belongs together is one range,
-- and the neighbours of a passage are its neighbours in number.
CREATE TABLE recall_passages (
    place   INTEGER PRIMARY KEY,
    seq     INTEGER NOT NULL,
    at      REAL    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('user', 'agent', 'call', 'result')),
    speaker TEXT    NOT NULL,
    source  TEXT    NOT NULL,
    words   INTEGER NOT NULL,
    traits  INTEGER NOT NULL,
    text    TEXT    NOT NULL,
    extra   TEXT    NOT NULL
);

CREATE INDEX recall_passages_by_time ON recall_passages (at);

CREATE TABLE recall_speakers (
    session INTEGER NOT NULL,
    speaker TEXT    NOT NULL COLLATE NOCASE,
    PRIMARY KEY (session, speaker)
) WITHOUT ROWID;

-- Ranking is our own and needs no sizes of columns.
CREATE VIRTUAL TABLE recall USING fts5(
    speaker, text, extra,
    content = 'recall_passages', content_rowid = 'place', columnsize = 0,
    tokenize = 'porter unicode61 remove_diacritics 2'
);

CREATE TRIGGER recall_passages_add AFTER INSERT ON recall_passages
BEGIN
    INSERT INTO recall (rowid, speaker, text, extra) VALUES (new.place, new.speaker, new.text, new.extra);
END;

CREATE TRIGGER recall_passages_name AFTER INSERT ON recall_passages WHEN new.speaker <> ''
BEGIN
    INSERT OR IGNORE INTO recall_speakers VALUES ((new.place >> 22) & 4194303, new.speaker);
END;

CREATE TRIGGER recall_passages_remove AFTER DELETE ON recall_passages
BEGIN
    INSERT INTO recall (recall, rowid, speaker, text, extra)
    VALUES ('delete', old.place, old.speaker, old.text, old.extra);
END;

CREATE TRIGGER recall_sessions_remove AFTER DELETE ON recall_sessions
BEGIN
    DELETE FROM recall_passages
    WHERE place BETWEEN (old.project << 44) | (old.number << 22)
        AND (old.project << 44) | (old.number << 22) | 4194303;
    DELETE FROM recall_speakers WHERE session = old.number;
END;

-- A session that belongs to another project from now on is indexed anew.
CREATE TRIGGER recall_sessions_move AFTER UPDATE OF project ON sessions WHEN old.project <> new.project
BEGIN
    DELETE FROM recall_sessions WHERE session_id = old.session_id;
END;
