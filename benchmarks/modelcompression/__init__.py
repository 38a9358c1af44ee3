"""Comparisons with MODNet-ModelCompression, the published pruner of this network."""
