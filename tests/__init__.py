"""The tests of hermes-editor."""
