"""Use cases of webhooks: what platforms deliver to a source becomes messages by a mapping."""
