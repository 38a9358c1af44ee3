"""Faults on purpose: a fleet of agents against one store and one ingest."""
