"""The search for networks that err little and are fast: what a front is worth, and what a night tries next."""
