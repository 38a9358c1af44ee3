"""What the project measures of itself. README.md lists the questions; a file, or a folder, answers each.

`inputs` is what they share, `making` makes what the project ships, `results` holds what was measured.
"""
