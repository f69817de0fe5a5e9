"""Nodes: how they join, and the tunnel through which calls reach them."""
