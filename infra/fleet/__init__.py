"""What the devices have reported, collected from their reports once and kept in the store."""
