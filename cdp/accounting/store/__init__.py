"""All SQL of message accounting."""
