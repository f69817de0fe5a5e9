"""The inference node: engines, models and runs on a PC, asked directly, through a relay, or by the log."""
