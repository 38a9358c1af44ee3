"""modnet/evaluation"""
