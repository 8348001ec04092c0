"""What the windows of a session are shown of it: our own words to those of the protocol, the way out."""
