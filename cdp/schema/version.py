"""The version of the identity mapping and the verdicts, advanced by triggers, so that no statement can omit it.

Any statement that changes or deletes an anchor, an owner, a verdict or a suppression that existed before its transaction
advances `identity.generation.version` in the same transaction, once. Adding new profiles does not. A process may
therefore use cached values as long as a transaction reads the version under which they were cached.
"""

from typing import Final

_ADVANCE: Final = """
CREATE FUNCTION identity.advance_version() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$
"""

_ADVANCE_FOR_KNOWN: Final = """
CREATE FUNCTION identity.advance_version_for_known() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $$
BEGIN
    IF current_setting('cdp.advanced_by', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text AND EXISTS (
        SELECT FROM fresh
        WHERE NOT EXISTS (
            SELECT FROM identity.profile AS p
            WHERE p.profile_id = fresh.profile_id AND p.xmin = pg_catalog.pg_current_xact_id()::xid
        )
    ) THEN
        UPDATE identity.generation SET version = version + 1;
        PERFORM pg_catalog.set_config('cdp.advanced_by', pg_catalog.pg_current_xact_id()::text, true);
    END IF;
    RETURN NULL;
END
$$
"""

_CHANGED: Final = {
    "identity.identifier": "(OLD.is_shared, OLD.authority) IS DISTINCT FROM (NEW.is_shared, NEW.authority)",
    "identity.anchor": "OLD.* IS DISTINCT FROM NEW.*",
    "identity.anchor_member": "OLD.* IS DISTINCT FROM NEW.*",
    "identity.anchor_source": "OLD.* IS DISTINCT FROM NEW.*",
    "identity.canonical": "OLD.* IS DISTINCT FROM NEW.*",
    "identity.link": "OLD.* IS DISTINCT FROM NEW.*",
    "identity.profile": "OLD.* IS DISTINCT FROM NEW.*",
    "consent.permitted": "(OLD.since, OLD.until) IS DISTINCT FROM (NEW.since, NEW.until)",
    "consent.refused": "OLD.reason IS DISTINCT FROM NEW.reason",
    "rights.suppression": "OLD.* IS DISTINCT FROM NEW.*",
}
"""The updates that change what a process may have cached; every DELETE does."""

_CHANGED_BY_INSERTS: Final = ("rights.suppression",)
_CHANGED_BY_INSERTS_FOR_KNOWN: Final = ("consent.permitted", "consent.refused")


def version_triggers() -> list[str]:
    """The functions and triggers that advance the version."""
    out = [_ADVANCE.strip(), _ADVANCE_FOR_KNOWN.strip()]
    for table, changed in _CHANGED.items():
        out.append(
            f"CREATE TRIGGER version_after_update AFTER UPDATE ON {table} "
            f"FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION identity.advance_version()"
        )
        out.append(
            f"CREATE TRIGGER version_after_delete AFTER DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION identity.advance_version()"
        )
        out.append(
            f"CREATE TRIGGER version_after_truncate AFTER TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version()"
        )
    out += [
        f"CREATE TRIGGER version_after_insert AFTER INSERT ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version()"
        for table in _CHANGED_BY_INSERTS
    ]
    out += [
        f"CREATE TRIGGER version_after_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION identity.advance_version_for_known()"
        for table in _CHANGED_BY_INSERTS_FOR_KNOWN
    ]
    return out
