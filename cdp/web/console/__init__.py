"""Pages for marketers, privacy staff, auditors and administrators: server-rendered HTML over the API, without scripts."""
