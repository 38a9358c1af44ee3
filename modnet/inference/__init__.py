"""Mattes of what has no labels: pictures, folders of them, and videos."""
