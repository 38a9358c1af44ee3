"""The network: blocks, backbone, branches, and which of their channels belong together."""
