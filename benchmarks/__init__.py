"""What the project measures of itself; each file is a command with its question in its first line."""
