-- What is known of the user and of projects. `facts` is an index, made from the repositories of memory and
-- made anew from them; `fact_changes` holds what is not in them yet. No virtual table may be named `fact…`,
-- so that all of this is kept when a damaged database is rebuilt.
CREATE TABLE facts (
    store   TEXT NOT NULL,
    fact_id TEXT NOT NULL,
    scope   TEXT NOT NULL,
    status  TEXT NOT NULL,
    data    TEXT NOT NULL,
    PRIMARY KEY (store, fact_id)
);

CREATE INDEX facts_by_scope ON facts (store, scope, status);

-- `facts` is a JSON list of {"fact": …, "was": the scope that the fact left}; of a purge {"fact": {"id": …}}.
CREATE TABLE fact_changes (
    number    INTEGER PRIMARY KEY AUTOINCREMENT,
    store     TEXT NOT NULL,
    change_id TEXT NOT NULL,
    kind      TEXT NOT NULL CHECK (kind IN ('change', 'rebuild', 'purge')),
    at        REAL NOT NULL,
    session   TEXT NOT NULL,
    facts     TEXT NOT NULL
);

CREATE INDEX fact_changes_by_store ON fact_changes (store, number);

CREATE TRIGGER fact_changes_index AFTER INSERT ON fact_changes
BEGIN
    DELETE FROM facts WHERE store = new.store AND (
        new.kind = 'rebuild'
        OR fact_id IN (SELECT json_extract(value, '$.fact.id') FROM json_each(new.facts))
    );
    INSERT INTO facts
    SELECT new.store, json_extract(value, '$.fact.id'), json_extract(value, '$.fact.scope'),
        json_extract(value, '$.fact.status'), json_extract(value, '$.fact')
    FROM json_each(new.facts) WHERE new.kind <> 'purge';
END;

-- How often a fact was of use; in no repository, because it changes with every session.
CREATE TABLE fact_uses (
    store   TEXT    NOT NULL,
    fact_id TEXT    NOT NULL,
    uses    INTEGER NOT NULL,
    PRIMARY KEY (store, fact_id)
) WITHOUT ROWID;

-- The branches of each repository of a project at the last look, as JSON.
CREATE TABLE fact_places (
    store TEXT NOT NULL,
    place TEXT NOT NULL,
    known TEXT NOT NULL,
    PRIMARY KEY (store, place)
) WITHOUT ROWID;
