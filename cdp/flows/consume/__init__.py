"""Use cases: read messages from the queue of a broker."""
