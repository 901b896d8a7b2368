"""Destinations: what leaves for whom, written in the transaction that causes it."""
