"""Message accounting: the state in which every message ended."""
