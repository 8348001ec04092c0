"""Rules: what the user answered for longer than once, and what stands in files."""
