"""How fast a model runs here: the runtime that runs it, the clock, and how the machine stands meanwhile."""
