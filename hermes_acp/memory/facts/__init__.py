"""Facts: what is known of the user and of projects, each in a file of its own, with its evidence."""
