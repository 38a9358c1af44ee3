"""What changes releases: signing keys, the signed list of what there is, and the steps of a publication."""
