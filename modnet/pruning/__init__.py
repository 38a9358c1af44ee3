"""modnet/pruning"""
