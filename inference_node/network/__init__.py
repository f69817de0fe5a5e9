"""Where the node can be reached: the machine's addresses, and who listens there."""
