"""Linked worktrees in which sessions work apart from the user's own files."""
