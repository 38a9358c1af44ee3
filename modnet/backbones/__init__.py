"""Backbones that several workloads build on: layers, sizes, which channels go together, published weights."""
