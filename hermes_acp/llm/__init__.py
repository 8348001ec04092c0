"""Language models behind one narrow seam."""
