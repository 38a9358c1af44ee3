"""Takes devices' reports, `python -m infra.ingest --help`: the only service that writes below `reports/`.

A device's key reads the store and signs its reports. What comes here is known to be that device's, is a report, has its
name, is stored once, and is told to Prefect.
"""
