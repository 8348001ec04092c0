"""Conversations from elsewhere: what their files say, and how they become sessions."""
