"""modnet/training"""
