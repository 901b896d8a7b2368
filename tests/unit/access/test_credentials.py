"""Secrets are random, readable by prefix, and kept as a hash."""

from cdp.access.credentials import hash_secret, new_token, new_write_key


def test_secrets_are_long_random_and_tell_what_they_are() -> None:
    keys = {new_write_key() for _ in range(100)}
    tokens = {new_token() for _ in range(100)}
    assert len(keys) == len(tokens) == 100
    assert all(key.startswith("wk_") and len(key) >= 43 for key in keys)
    assert all(token.startswith("cdp_") and len(token) >= 43 for token in tokens)


def test_a_hash_is_stable_short_and_takes_any_text() -> None:
    assert hash_secret("a") == hash_secret("a") != hash_secret("b")
    assert len(hash_secret("\ud800 not text")) == 32
