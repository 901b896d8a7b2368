"""Pages for marketers, privacy staff, auditors and administrators: the API in sentences, made here and without scripts."""
