"""The consent room: who said yes or no to what, and what that permits."""
