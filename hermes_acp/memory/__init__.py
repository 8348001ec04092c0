"""What is remembered of a project: recall of what was said."""
