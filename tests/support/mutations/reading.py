"""Checks of what readers see: segments, lists of members, look-ups and SQL."""

from typing import Final

from tests.support.every_basis import ALL, Basis
from tests.support.mutations.model import Edit, Mutation, Stage, removed

_READERS: Final = "tests/flows/test_every_basis_readers.py::"
_SPEC: Final = "tests/spec/consent/test_every_basis.py::"
_SCOPE: Final = "cdp/query/postgres/scope.py"
_MEASURES: Final = "cdp/query/postgres/measures.py"
_MEMBERS: Final = "cdp/segments/store/members.py"
_LOOKUP: Final = "cdp/flows/identity/reader_lookup.py"
_VIEW: Final = "cdp/consent/store/reader_view.py"
_PROJECTION: Final = "cdp/consent/store/projection.py"


def _read(
    key: str, stage: Stage, file: str, edits: tuple[Edit, ...], *tests: str, bases: tuple[Basis, ...] = ALL
) -> Mutation:
    return Mutation(key, stage, bases, file, edits, tuple(_READERS + test for test in tests))


READING: Final = (
    _read(
        "segments.permitted",
        Stage.SEGMENTS,
        _SCOPE,
        (
            Edit("table(consent.projection_of(purpose), *columns", 'table("permitted", *columns'),
            Edit("columns.reader_pseudonym).where(\n", "columns.reader_pseudonym).distinct(columns.profile_id).where(\n"),  # one row of each
        ),
        "test_a_segment_has_nobody_who_is_not_permitted",
    ),
    _read(
        "segments.end",
        Stage.SEGMENTS,
        _SCOPE,
        (Edit("columns.since <= self.now, or_(columns.until.is_(None), columns.until > self.now)", "columns.since <= self.now"),),
        "test_a_segment_has_nobody_whose_permission_ended_by_time",
    ),
    _read(
        "segments.bit",
        Stage.SEGMENTS,
        _MEASURES,
        removed('            event.c.bits.op("&")(scope.ids.masks[purpose]) != 0,\n'),
        "test_a_segment_reads_no_event_without_its_bit",
    ),
    _read(
        "segments.since",
        Stage.SEGMENTS,
        _MEASURES,
        removed("            event.c.occurred_at >= people.c.since,\n"),
        "test_a_segment_reads_no_event_from_before_the_permission",
    ),
    _read(
        "segments.computed",
        Stage.SEGMENTS,
        _MEASURES,
        removed('            bucket.c.day >= cast(func.timezone("UTC", people.c.since), Date),\n'),
        "test_a_segment_reads_no_computed_trait_from_before_the_permission",
    ),
    Mutation(
        "segments.category",
        Stage.SEGMENTS,
        ALL,
        "cdp/query/language/check_fields.py",
        removed("if not self.purpose.allows(category):", "if False:"),
        (_SPEC + "test_a_segment_reads_no_field_that_its_purpose_does_not_allow",),
    ),
    _read(
        "lists.permitted",
        Stage.LISTS,
        _MEMBERS,
        removed("permitted.c.purpose == segment.purpose, *_holds", "*_holds"),
        "test_a_list_shows_no_member_who_is_not_permitted",
    ),
    _read(
        "lists.end",
        Stage.LISTS,
        _MEMBERS,
        removed("return table.c.since <= now, ends, membership", "return table.c.since <= now, membership"),
        "test_a_list_shows_no_member_whose_permission_ended_or_began_again",
    ),
    _read(
        "lists.since",
        Stage.LISTS,
        _MEMBERS,
        removed("ends, membership.c.since >= table.c.since", "ends"),
        "test_a_list_shows_no_member_whose_permission_ended_or_began_again",
    ),
    _read(
        "lists.both",
        Stage.LISTS,
        _MEMBERS,
        removed("        statement = statement.where(is_permitted)\n"),
        "test_a_list_of_two_purposes_needs_permission_for_both",
    ),
    _read(
        "lists.readable",
        Stage.LISTS,
        "cdp/flows/reader_limits.py",
        removed("    if others:\n", "    if False:\n"),
        "test_a_role_lists_nobody_for_a_purpose_that_it_does_not_read",
    ),
    _read(
        "lookups.readable",
        Stage.LOOKUPS,
        _LOOKUP,
        removed("readable = context.policy.purposes_read_by(role)", "readable = list(context.policy.purposes)"),
        "test_a_role_looks_up_nobody_for_a_purpose_that_it_does_not_read",
    ),
    _read(
        "lookups.computed",
        Stage.LOOKUPS,
        _LOOKUP,
        removed("            if context.policy.traits[key].purpose in purposes\n"),
        "test_a_look_up_shows_data_of_its_own_purpose_alone",
    ),
    _read(
        "lookups.segments",
        Stage.LOOKUPS,
        _LOOKUP,
        removed("segment.purpose not in purposes or key", "key"),
        "test_a_look_up_shows_data_of_its_own_purpose_alone",
    ),
    _read(
        "lookups.end",
        Stage.LOOKUPS,
        _VIEW,
        removed("  AND since <= %(now)s AND (until IS NULL OR until > %(now)s)\n"),
        "test_a_look_up_finds_nobody_whose_permission_ended_by_time",
    ),
    _read(
        "lookups.end_of_roles",
        Stage.LOOKUPS,
        _VIEW,
        removed("  AND p.since <= %(now)s AND (p.until IS NULL OR p.until > %(now)s)\n"),
        "test_a_look_up_finds_nobody_whose_permission_ended_by_time",
    ),
    _read(
        "sql.end",
        Stage.SQL_READERS,
        _PROJECTION,
        removed('"USING (until IS NULL OR until > (SELECT consent.present_instant()))"', '"USING (true)"'),
        "test_sql_shows_nobody_whose_permission_ended_by_time",
    ),
    _read(
        "sql.granted",
        Stage.SQL_READERS,
        _PROJECTION,
        removed("        if name in tables:\n", "        if True:\n"),
        "test_sql_shows_nobody_for_a_purpose_that_the_role_does_not_read",
    ),
    _read(
        "sql.revoked",
        Stage.SQL_READERS,
        _PROJECTION,
        removed('        tx.execute(sql.SQL("REVOKE ALL ON {} FROM PUBLIC, {}").format(table, role))\n'),
        "test_sql_shows_nobody_for_a_purpose_that_the_role_does_not_read",
    ),
    _read(
        "sql.further_roles",
        Stage.SQL_READERS,
        "migrations/versions/0024_reader_roles.py",
        removed("        DELETE FROM consent.projection WHERE profile_id = OLD.profile_id AND purpose = OLD.purpose;\n", "        NULL;\n"),
        "test_the_tables_of_further_roles_follow_the_end_of_a_permission",
    ),
)  # fmt: skip
