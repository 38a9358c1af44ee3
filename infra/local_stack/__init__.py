"""The services of a single-machine run, started and stopped together: `python -m infra.local_stack --help`. Linux."""
