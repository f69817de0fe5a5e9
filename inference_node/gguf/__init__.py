"""What a model file says of itself, read without an engine and without trust."""
