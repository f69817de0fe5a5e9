"""Models in memory: what fits, which engine is fastest, and what is tried when that fails."""
