"""The Language Server Protocol half."""
