"""MODNet as layers, its sizes as a spec, and which of its channels go together."""
