"""What others have published: the official checkpoints, and MODNet-ModelCompression's checkpoints and pruning rule."""
