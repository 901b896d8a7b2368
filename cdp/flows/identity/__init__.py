"""Use cases of identity: look up a profile, explain, unmerge, simulate, rebuild, import a link table."""
