"""From a checkpoint to what devices run, with proof that it computes the same."""
