"""What may happen unasked, what must be asked, what never happens: pure decisions."""
