"""Tests of the Agent Client Protocol against the real command."""
