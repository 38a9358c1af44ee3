"""Which channels go, and what is left. Knows modules and groups, not one layer's name."""
