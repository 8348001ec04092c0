"""Bytes to messages, messages to operations, events back to messages."""
