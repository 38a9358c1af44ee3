"""modnet/models"""
