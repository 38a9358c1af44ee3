"""How does a pruned network get its accuracy back?"""
