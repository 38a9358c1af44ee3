"""Families of networks, each with its data, loss, errors and published forms. They never import each other."""
