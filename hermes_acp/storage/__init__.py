"""SQLite: the journal of every session and the rules the user taught us."""
