"""Image classification: one image in, one of some classes out."""
