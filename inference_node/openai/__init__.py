"""The OpenAI-compatible API for other programs on the PC."""
