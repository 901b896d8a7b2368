"""Segments: definitions with one purpose each, their memberships, and the sizes that may be displayed."""
