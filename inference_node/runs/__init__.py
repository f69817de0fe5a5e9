"""Answers in the making, detached from whoever watches."""
