"""What is remembered of a project: `hermes-editor memory`, a module for each group of its actions."""
