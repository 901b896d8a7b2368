"""Use cases: define, preview and read segments, and keep memberships up to date."""
