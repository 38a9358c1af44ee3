"""What runs on a Ray node, a file per stage: each function makes a record from records in the store.

A node shares nothing with the others but the object store, which its environment names (`infra.settings`). Most are
functions of a `Node`: `node.answered` looks first whether the record is in the store, and puts it there. What takes
seconds runs beside the flow and looks by itself (`import_base`, `summarise`).
"""
