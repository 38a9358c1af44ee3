"""The verbs of `python -m infra.device`, and the settings that they all read: one file a verb."""
