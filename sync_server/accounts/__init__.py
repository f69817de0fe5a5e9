"""People, their devices, and how they prove who they are."""
