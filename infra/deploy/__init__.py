"""The services on machines of your own: what their containers run, and the files that describe them."""
