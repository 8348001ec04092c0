-- On which branch of the code something was said; empty where nobody noted it. Of a session it is that of
-- the last turn that was looked at.
ALTER TABLE recall_passages ADD COLUMN branch TEXT NOT NULL DEFAULT '';
ALTER TABLE recall_sessions ADD COLUMN branch TEXT NOT NULL DEFAULT '';
