"""Which images belong together, and how they are scored."""
