"""What the node answers over HTTP, and who may ask."""
