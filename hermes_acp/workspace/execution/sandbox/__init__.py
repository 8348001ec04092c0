"""Commands that can change the workspace and nothing else."""
