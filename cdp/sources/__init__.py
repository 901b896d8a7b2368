"""Sources: who may send messages, with which write key."""
