"""Access: bearer tokens of the people who work with the store, and secrets of sources."""
