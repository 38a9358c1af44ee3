"""Photographs and mattes: reading, augmenting and drawing them."""
