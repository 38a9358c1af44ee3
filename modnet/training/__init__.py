"""Losses, schedule, loop."""
