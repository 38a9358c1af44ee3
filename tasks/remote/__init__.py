"""What runs on a Ray node, a file per stage: each function makes a record in the store from records in the store.

A node shares nothing with the others but the object store; its address and keys come from the node's environment
(`infra.settings`). `node.answered` looks first whether the answer is there already.
"""
