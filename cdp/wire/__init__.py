"""The Segment wire format: bytes to messages. Pure."""
