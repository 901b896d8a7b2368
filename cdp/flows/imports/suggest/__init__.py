"""Proposals of a mapping, from the header and a sample of a file."""
