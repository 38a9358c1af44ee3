"""modnet/export"""
