"""How much faster is the pruned and quantised network, and which layers hold it back?"""
