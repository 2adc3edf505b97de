"""Where trials run: in this process, in a pool of processes, or wherever an executor takes them."""
