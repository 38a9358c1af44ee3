"""From a photograph or a video to mattes and cut-outs."""
