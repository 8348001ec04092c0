"""The agent: sessions, turns, the loop, and the hub that tells the world about them."""
