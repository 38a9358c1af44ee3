"""modnet/data"""
