"""The segment language, its reference interpreter and its engines."""
