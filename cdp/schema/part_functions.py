"""Functions that do for a part, with the rights of the owner, the one thing that it may do with a table which it may not write.

They belong to the owner of the store, name everything with its schema, and nobody but the owner and the parts that
`cdp.schema.database_roles` names may call them.
"""

from typing import Final

HOLD_ACTIVE_EPOCH: Final = """
CREATE FUNCTION vault.hold_active_epoch() RETURNS SETOF integer
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT epoch_id FROM vault.epoch WHERE retired_at IS NULL FOR KEY SHARE $$
"""
"""The active epoch, locked until the transaction ends; a lock on a row takes the right to change rows."""

THROW_AWAY_KEYS: Final = """
CREATE FUNCTION vault.throw_away_keys(ids bigint[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    WITH deleted AS (
        DELETE FROM vault.subject_key AS k
        WHERE k.subject_id = ANY(ids)
          AND NOT EXISTS (SELECT FROM identity.anchor AS a WHERE a.anchor_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM identity.identifier AS i WHERE i.identifier_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM rights.request AS r WHERE r.request_id = k.subject_id)
          AND NOT EXISTS (SELECT FROM rights.hold AS h WHERE h.hold_id = k.subject_id)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
$$
"""
"""Destroys the keys of what is nobody's any more, such as deferred messages; those of people, requests and holds stay."""

SHRED_REQUEST_KEYS: Final = """
CREATE FUNCTION vault.shred_request_keys(ids bigint[]) RETURNS bigint
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$
    WITH deleted AS (
        DELETE FROM vault.subject_key AS k
        WHERE k.subject_id = ANY(ids)
          AND EXISTS (SELECT FROM rights.request AS r WHERE r.request_id = k.subject_id AND r.closed_at IS NOT NULL)
        RETURNING 1
    )
    SELECT count(*) FROM deleted
$$
"""
"""Destroys the keys of closed requests, under which the identifiers and values that they named are sealed; all others stay."""

IS_ADVANCED: Final = """
CREATE FUNCTION identity.is_advanced() RETURNS boolean
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog
AS $$ SELECT coalesce(current_setting('cdp.advanced_by', true), '') = pg_current_xact_id()::text $$
"""
"""Whether this transaction advanced the version: a server may let only the owner ask for its number."""

FUNCTIONS: Final = {
    "vault.hold_active_epoch()": HOLD_ACTIVE_EPOCH,
    "vault.throw_away_keys(bigint[])": THROW_AWAY_KEYS,
    "vault.shred_request_keys(bigint[])": SHRED_REQUEST_KEYS,
    "identity.is_advanced()": IS_ADVANCED,
}
"""In the order in which they are created, by signature."""
