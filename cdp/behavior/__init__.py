"""The behavior room: events, stated traits, computed traits, and how all of them end."""
