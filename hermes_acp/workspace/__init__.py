"""The user's files, repositories and commands."""
