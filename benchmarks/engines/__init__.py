"""Where cells run. An engine starts a cell's process, watches it, and says how it ended."""
