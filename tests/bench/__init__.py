"""`make bench`: the budgets of the design, measured against a floor in the same run."""
