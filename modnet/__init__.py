"""modnet"""
