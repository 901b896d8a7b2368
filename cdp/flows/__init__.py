"""Journeys: each file is one, and each runs in one transaction."""
