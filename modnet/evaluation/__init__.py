"""How good, how expensive, and which one to release."""
