"""What the model can do: one module for each family of tools."""
