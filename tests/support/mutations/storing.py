"""Checks of what is kept: verdicts in force, traits, corrections, and the clearing after a withdrawal."""

from typing import Final

from tests.support.every_basis import ALL, LISTED, REFUSABLE, Basis
from tests.support.mutations.model import Edit, Mutation, Stage, removed

_FLOWS: Final = "tests/flows/test_every_basis.py::"
_VERDICTS: Final = "cdp/consent/store/verdicts.py"
_TRAITS: Final = "cdp/behavior/store/traits.py"
_BUCKETS: Final = "cdp/behavior/store/buckets.py"
_COMPUTED: Final = "cdp/behavior/store/computed.py"
_CLEARING: Final = "cdp/flows/consent/clearing.py"


def _kept(
    key: str, stage: Stage, file: str, edits: tuple[Edit, ...], *tests: str, bases: tuple[Basis, ...] = ALL
) -> Mutation:
    return Mutation(key, stage, bases, file, edits, tuple(_FLOWS + test for test in tests))


_OVER: Final = removed("AND lost.is_over", "AND false")

STORING: Final = (
    _kept("in_force.refusal", Stage.IN_FORCE, _VERDICTS, _OVER, "test_a_refusal_ends_the_permission_in_force", bases=REFUSABLE),
    _kept("in_force.restriction", Stage.IN_FORCE, _VERDICTS, _OVER, "test_a_restriction_ends_the_permission_in_force", bases=LISTED),
    _kept(
        "in_force.of_many",
        Stage.IN_FORCE,
        "cdp/consent/store/last_refusals.py",
        removed("            WHERE p.profile_id = concerned.profile_id AND p.purpose = %(purpose)s\n", "            WHERE false\n"),
        "test_a_refusal_of_many_ends_their_permissions",
        bases=REFUSABLE,
    ),
    _kept(
        "in_force.end",
        Stage.IN_FORCE,
        _VERDICTS,
        removed("FROM consent.permitted WHERE until <= %(now)s LIMIT", "FROM consent.permitted WHERE until < %(now)s LIMIT"),
        "test_a_permission_that_ended_by_time_is_found",
    ),
    _kept(
        "traits.bit",
        Stage.TRAITS,
        _TRAITS,
        removed(" AND t.bits & a.mask <> 0\n", "\n"),
        "test_a_projection_has_only_traits_stated_for_its_purpose",
    ),
    _kept(
        "traits.since",
        Stage.TRAITS,
        _TRAITS,
        removed("            AND t.occurred_at >= a.since AND", "            AND"),
        "test_a_projection_has_no_trait_from_before_the_permission",
    ),
    _kept(
        "traits.category",
        Stage.TRAITS,
        "cdp/flows/consent/verdicts.py",
        removed("for name, value in traits.items() if name in allowed[purpose]}", "for name, value in traits.items()}"),
        "test_a_projection_has_no_trait_of_a_category_that_its_purpose_does_not_allow",
    ),
    _kept(
        "computed.door",
        Stage.COMPUTED,
        "cdp/behavior/traits.py",
        removed("if not event.bits & trait.mask or not _matches", "if not _matches"),
        "test_an_event_adds_to_no_computed_trait_of_another_purpose",
    ),
    _kept(
        "computed.bit",
        Stage.COMPUTED,
        _BUCKETS,
        removed(" AND e.bits & d.mask <> 0 {of_anchors}", " {of_anchors}"),
        "test_a_computed_trait_counts_only_events_with_its_bit",
    ),
    _kept(
        "computed.since",
        Stage.COMPUTED,
        _BUCKETS,
        removed(" AND e.occurred_at >= p.since\n", "\n"),
        "test_a_computed_trait_counts_no_event_from_before_the_permission",
    ),
    _kept(
        "computed.permitted",
        Stage.COMPUTED,
        _BUCKETS,
        removed("ON p.profile_id = c.profile_id AND p.purpose = d.purpose", "ON p.profile_id = c.profile_id"),
        "test_a_computed_trait_is_computed_for_nobody_who_is_not_permitted",
    ),
    _kept(
        "computed.read",
        Stage.COMPUTED,
        _COMPUTED,
        removed("ON p.purpose = d.purpose AND p.profile_id", "ON p.profile_id"),
        "test_a_computed_trait_is_read_for_nobody_who_is_not_permitted",
    ),
    _kept(
        "computed.end",
        Stage.COMPUTED,
        _COMPUTED,
        removed(" AND (p.until IS NULL OR p.until > %(now)s)\n", "\n"),
        "test_a_computed_trait_is_read_for_nobody_who_is_not_permitted",
    ),
    _kept(
        "corrections.permitted",
        Stage.CORRECTIONS,
        "cdp/flows/rights/rectify.py",
        removed("if key in permitted and rule.allows", "if rule.allows"),
        "test_a_correction_is_stored_for_no_purpose_that_is_not_permitted",
    ),
    _kept(
        "corrections.category",
        Stage.CORRECTIONS,
        "cdp/flows/rights/rectify.py",
        removed("if key in permitted and rule.allows(plans[name].category) else", "if key in permitted else"),
        "test_a_correction_is_stored_for_no_purpose_that_is_not_permitted",
    ),
    _kept(
        "clearing.events",
        Stage.CLEARING,
        _CLEARING,
        removed("events = clear_bits(tx, anchor_ids, masks[purpose]", "events = clear_bits(tx, [], masks[purpose]"),
        "test_a_withdrawal_clears_events_and_traits",
        bases=REFUSABLE,
    ),
    _kept(
        "clearing.traits",
        Stage.CLEARING,
        _CLEARING,
        removed("clear_trait_bits(tx, anchor_ids, masks[purpose]", "clear_trait_bits(tx, [], masks[purpose]"),
        "test_a_purpose_that_ends_is_cleared",
    ),
    _kept(
        "clearing.noted",
        Stage.CLEARING,
        _VERDICTS,
        removed("FROM over WHERE NOT is_stored", "FROM over WHERE false"),
        "test_a_withdrawal_clears_events_and_traits",
        bases=REFUSABLE,
    ),
    _kept(
        "clearing.purposes",
        Stage.CLEARING,
        "cdp/consent/store/projection.py",
        removed("SELECT profile_id, purpose, %(now)s::timestamptz FROM ended\n", "SELECT profile_id, purpose, %(now)s::timestamptz FROM ended WHERE false\n"),
        "test_a_purpose_that_ends_is_cleared",
    ),
    _kept(
        "clearing.moved",
        Stage.CLEARING,
        "cdp/behavior/store/events.py",
        removed("ON p.profile_id = h.profile_id AND p.purpose = m.purpose\n", "ON p.profile_id = h.profile_id\n"),
        "test_what_no_permission_covers_is_found",
    ),
    _kept(
        "clearing.moved_since",
        Stage.CLEARING,
        "cdp/behavior/store/events.py",
        removed("HAVING p.since IS NULL OR min(h.occurred_at) < p.since", "HAVING p.since IS NULL"),
        "test_what_a_later_permission_does_not_cover_is_found",
    ),
)  # fmt: skip
