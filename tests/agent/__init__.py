"""The agent core, driven through its own seam: operations in, events out."""
