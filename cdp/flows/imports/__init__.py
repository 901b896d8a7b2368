"""Use cases: import a file of messages or of links."""
