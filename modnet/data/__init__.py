"""From an archive to training samples, and from an image to the network and back."""
