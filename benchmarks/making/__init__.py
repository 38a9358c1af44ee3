"""Makes what the project ships: the plans of the headline, the two networks, the tables of docs/results.md."""
