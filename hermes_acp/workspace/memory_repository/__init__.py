"""The git repositories that facts are kept in: written by streams, read as objects, shown as worktrees."""
