"""The `hermes-editor sessions` commands."""
