"""Machines and services. Files that ship with the edge agent keep to Python 3.9."""
