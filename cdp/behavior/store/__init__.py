"""All SQL of behavior."""
