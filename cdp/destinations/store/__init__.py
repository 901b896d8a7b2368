"""All SQL of destinations."""
