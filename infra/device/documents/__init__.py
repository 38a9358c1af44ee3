"""Manifest, pointer and latency report: what they say, and how they are read from a writer who may be anyone."""
