"""Checkpoints of working trees: undo, redo and rewind for files, beside the user's own repository."""
