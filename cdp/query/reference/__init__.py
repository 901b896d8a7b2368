"""The reference interpreter: what the words of the language mean."""
