"""Makes what the project ships: plans, the two networks, and what of docs/ comes from code."""
