"""Use case: a batch of messages, from decoded messages to a committed transaction."""
