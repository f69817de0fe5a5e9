"""What makes text: one protocol, its implementations, and the child process they run in."""
