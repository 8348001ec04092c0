"""Backends that run commands."""
