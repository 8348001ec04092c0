-- Where a session works: in the folder it was opened for, or in a worktree of its own (its path).
ALTER TABLE sessions ADD COLUMN isolation TEXT NOT NULL DEFAULT 'in_place';
ALTER TABLE sessions ADD COLUMN worktree TEXT NOT NULL DEFAULT '';
