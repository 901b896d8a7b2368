"""Fill a store without sending every message: other people with their identifiers, links and events."""

from sqlalchemy import text

from cdp.kit.db import Database

_PER_PERSON = 10

_OTHERS = """
CREATE TEMP TABLE filler ON COMMIT DROP AS
    SELECT n, (random() * 9e18)::bigint AS one, (random() * 9e18)::bigint AS other,
           (random() * 9e18)::bigint AS anchor, (random() * 9e18)::bigint AS profile
    FROM generate_series(1, :people) AS n;
INSERT INTO identity.identifier (identifier_id, type, pseudonym, pseudonym_version, sealed, first_seen_at, last_seen_on)
    SELECT one, 'user_id', sha256(('u' || one)::bytea), 1, ''::bytea, now(), current_date FROM filler
    UNION ALL SELECT other, 'anonymous_id', sha256(('a' || other)::bytea), 1, ''::bytea, now(), current_date FROM filler;
INSERT INTO identity.profile (profile_id, origin_sequence, created_at) SELECT profile, -profile, now() FROM filler;
INSERT INTO identity.link (identifier_id, profile_id, linked_at)
    SELECT one, profile, now() FROM filler UNION ALL SELECT other, profile, now() FROM filler;
INSERT INTO identity.anchor (anchor_id, members_digest, created_at, is_settled)
    SELECT anchor, sha256(('d' || anchor)::bytea), now(), TRUE FROM filler;
INSERT INTO identity.anchor_member (anchor_id, identifier_id, position)
    SELECT anchor, one, 0 FROM filler UNION ALL SELECT anchor, other, 1 FROM filler;
INSERT INTO identity.canonical (anchor_id, profile_id) SELECT anchor, profile FROM filler;
INSERT INTO identity.anchor_source (anchor_id, source_id) SELECT anchor, 1 FROM filler;
INSERT INTO consent.permitted (profile_id, purpose, since, reader_pseudonym)
    SELECT profile, 'analytics', '-infinity', md5(profile::text) FROM filler;
INSERT INTO vault.subject_key (subject_id, epoch_id, wrapped)
    SELECT id, (SELECT max(epoch_id) FROM vault.epoch), decode(repeat('00', 61), 'hex')
    FROM (SELECT one AS id FROM filler UNION ALL SELECT other FROM filler UNION ALL SELECT anchor FROM filler) AS s;
INSERT INTO behavior.event
    SELECT s.anchor, e.occurred_at, gen_random_uuid(), e.retention_class, e.received_at, e.source_id, e.name_id, e.bits,
           e.plain, e.sealed
    FROM filler AS s CROSS JOIN (SELECT * FROM behavior.event ORDER BY event_id LIMIT :events_each) AS e;
INSERT INTO behavior.duplicate (event_id, body_digest, keep_until)
    SELECT gen_random_uuid(), sha256(one::text::bytea), current_date + 400
    FROM filler CROSS JOIN generate_series(1, :events_each);
"""


def fill(database: Database, events: int) -> None:
    """Add this many events of other people, ten per person, and everything that the pipeline looks up; then VACUUM ANALYZE."""
    with database.transaction() as tx:
        for statement in filter(str.strip, _OTHERS.split(";")):
            compiled = text(statement)
            values = {"people": events // _PER_PERSON, "events_each": _PER_PERSON}
            tx.execute_core(compiled, {name: values[name] for name in compiled.compile().params})
    vacuum(database)


def vacuum(database: Database) -> None:
    """Let the planner know what is there, as autovacuum would."""
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def count_events(database: Database) -> int:
    """How many events are stored."""
    with database.transaction(read_only=True) as tx:
        return int(tx.scalar(text("SELECT count(*) FROM behavior.event")))
