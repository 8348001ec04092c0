"""What the user prefers and knows: claims that are made of evidence, and how far they are believed."""
