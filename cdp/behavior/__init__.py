"""Behavior: events, stated traits and computed traits, and how each of them expires."""
