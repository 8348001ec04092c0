"""Memory services outside of this program: what is asked of them, and those that there are."""
