"""The files of this machine: written whole, known by their digest, and what the file system refuses in our words."""
