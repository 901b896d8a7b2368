"""Use cases: look a person up, explain, unmerge, simulate, rebuild, link tables."""
