"""The memory of sessions: what the model is told of it, what it may do to it, and what a turn has taught."""
