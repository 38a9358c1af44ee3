"""What a flow calls: one sentence each. Also the command line, and what runs on Ray nodes."""
