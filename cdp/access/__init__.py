"""Who may send and who may read: sources, tokens, and the accounting of messages."""
