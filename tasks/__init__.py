"""What a flow calls: one sentence each. Also the command line, and what runs on Ray nodes."""

import infra  # noqa: F401 - before Prefect is imported: it is asked for no usage statistics
