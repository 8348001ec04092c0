-- What was streamed of messages that are not complete: pieces, in the order of their rowid.
CREATE TABLE drafts (
    session_id TEXT    NOT NULL REFERENCES sessions (session_id) ON DELETE CASCADE,
    turn_id    TEXT    NOT NULL,
    message_id TEXT    NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('text', 'thought')),
    start      INTEGER NOT NULL,
    text       TEXT    NOT NULL
);

CREATE INDEX drafts_of_session ON drafts (session_id);

-- The transaction that writes a message, or the end of its turn, removes its draft. Without drafts
-- there is no row to test, so the event is not parsed.
CREATE TRIGGER events_end_drafts AFTER INSERT ON events
BEGIN
    DELETE FROM drafts
    WHERE session_id = new.session_id
        AND (
            message_id = json_extract(new.data, '$.message_id')
            OR json_extract(new.data, '$.type') = 'turn_ended'
        );
END;
