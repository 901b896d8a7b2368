"""Checks of the verdict and of the ways in: the door, deferred messages, imports and link tables."""

from typing import Final

from tests.support.every_basis import ALL, GRANTED, LISTED, REFUSABLE, Basis
from tests.support.mutations.model import Edit, Mutation, Stage, removed

_SPEC: Final = "tests/spec/consent/test_every_basis.py::"
_FLOWS: Final = "tests/flows/test_every_basis.py::"
_DECIDE: Final = "cdp/consent/decide.py"
_PLAN: Final = "cdp/flows/ingest/plan.py"
_REFUSED: Final = tuple(basis for basis in REFUSABLE if basis is not Basis.OPT_IN)

_DOOR: Final = removed(
    """        if verdict is None:
            refused.add(without_verdict)
        elif not verdict.allowed:
            refused.add(verdict.reason)
        elif is_permitted(verdict, occurred_at, received_at):
""",
    "        if True:\n",
)


def _verdict(key: str, bases: tuple[Basis, ...], text: str, instead: str, *tests: str) -> Mutation:
    edits = removed(text, instead)
    return Mutation(f"verdict.{key}", Stage.VERDICT, bases, _DECIDE, edits, tuple(_SPEC + test for test in tests))


DECIDING: Final = (
    _verdict(
        "refusals",
        REFUSABLE,
        "state.add_refusal(_requirement_of(record, rule), at)",
        "pass",
        "test_an_answer_refuses",
    ),
    _verdict(
        "silence",
        (Basis.OPT_IN,),
        "    if model is ConsentModel.OPT_IN:\n        return Verdict(False, Reason.NO_GRANT)\n",
        "",
        "test_silence_refuses_an_opt_in",
    ),
    _verdict(
        "unique_identifier",
        LISTED,
        "if not facts.has_unique_identifier:",
        "if False:",
        "test_without_a_unique_identifier_a_listed_basis_covers_nobody",
    ),
    _verdict("restriction", ALL, "        if restrictions:\n", "        if False:\n", "test_a_restriction_refuses"),
    _verdict("quarantine", ALL, "if facts.is_quarantined:", "if False:", "test_a_quarantine_refuses"),
    _verdict(
        "age",
        ALL,
        "if not verdict.allowed or rule.minimum_age is None:",
        "if True or rule.minimum_age is None:",
        "test_who_is_too_young_is_refused",
    ),
    _verdict(
        "end", GRANTED, "if since is None or ends_at <= now:", "if since is None:", "test_a_grant_that_ended_refuses"
    ),
    _verdict(
        "two_steps",
        (Basis.SALE_OR_SHARING,),
        "and (not needs_two_steps or ",
        "and (True or ",
        "test_an_opt_out_of_sale_yields_to_no_single_grant",
    ),
    _verdict(
        "same_subject",
        (Basis.DIRECT_MARKETING,),
        "        and identifier_id in (None, grant.identifier_id)\n",
        "",
        "test_an_objection_to_direct_marketing_yields_to_nobody_else",
    ),
    _verdict(
        "shared",
        tuple(basis for basis in REFUSABLE if basis is not Basis.SALE_OR_SHARING),
        "            if not record.is_shared and record.at <= now:\n                acts.setdefault",
        "            if record.at <= now:\n                acts.setdefault",
        "test_a_shared_identifier_grants_nothing",
    ),
    Mutation(
        "door.verdict",
        Stage.DOOR,
        ALL,
        "cdp/flows/ingest/purposes.py",
        _DOOR,
        (_FLOWS + "test_the_door_stores_nothing_for_a_purpose_that_is_not_permitted",),
    ),
    Mutation(
        "door.since",
        Stage.DOOR,
        REFUSABLE,
        _DECIDE,
        removed("        and verdict.since <= occurred_at\n"),
        (_FLOWS + "test_the_door_stores_nothing_from_before_a_permission",),
    ),
    Mutation(
        "door.period",
        Stage.DOOR,
        ALL,
        _DECIDE,
        removed("        and (verdict.until is None or received_at < verdict.until)\n"),
        (_SPEC + "test_a_verdict_permits_only_its_period",),
    ),
    Mutation(
        "door.event",
        Stage.DOOR,
        LISTED,
        _PLAN,
        removed(
            'if (purpose.events == "*" or (classified.name is not None and purpose.covers(classified.name)))',
            "if True",
        ),
        (_SPEC + "test_a_listed_basis_covers_no_event_that_it_does_not_list",),
    ),
    Mutation(
        "door.category",
        Stage.DOOR,
        ALL,
        _PLAN,
        removed("                and purpose.allows(classified.category)\n"),
        (_SPEC + "test_a_purpose_covers_no_category_that_it_does_not_allow",),
    ),
    Mutation(
        "door.server",
        Stage.DOOR,
        LISTED,
        _PLAN,
        removed("                and (is_server or not purpose.needs_unique_identifier)\n"),
        (_SPEC + "test_a_listed_basis_covers_no_message_of_a_browser",),
    ),
    Mutation(
        "door.cache",
        Stage.DOOR,
        REFUSABLE,
        "cdp/flows/ingest/profile_cache.py",
        removed("        if version == self._version:\n", "        if self._version != _NEVER:\n"),
        (_FLOWS + "test_the_door_stores_nothing_for_a_purpose_that_is_not_permitted",),
    ),
    Mutation(
        "deferred.answer",
        Stage.DEFERRED,
        LISTED,
        "cdp/consent/deferral.py",
        removed(" is Reason.NO_GRANT\n", " is not None\n"),
        (_FLOWS + "test_a_message_waits_only_for_an_answer_that_can_be_given",),
    ),
    Mutation(
        "deferred.refused",
        Stage.DEFERRED,
        _REFUSED,
        "cdp/consent/deferral.py",
        removed("if any(verdict.reason in _ANSWERED for verdict in verdicts.values()):", "if False:"),
        (_FLOWS + "test_who_refused_has_answered_and_nothing_waits",),
    ),
    Mutation(
        "deferred.ended",
        Stage.DEFERRED,
        (Basis.OPT_IN,),
        "cdp/flows/ingest/defer.py",
        removed("        if act.is_refusal:\n            deferrals.refuse(pseudonym)\n", "        pass\n"),
        (_FLOWS + "test_a_refusal_of_the_device_ends_what_waits",),
    ),
    Mutation(
        "imports.verdict",
        Stage.IMPORTS,
        ALL,
        "cdp/flows/ingest/purposes.py",
        _DOOR,
        (_FLOWS + "test_rows_of_a_file_meet_the_same_door",),
    ),
    Mutation(
        "link_tables.verdict",
        Stage.LINK_TABLES,
        ALL,
        "cdp/flows/identity/link_table/judge.py",
        (
            Edit(
                "            allowed = any(verdict.allowed for verdict in verdicts.values())\n",
                "            allowed = True\n",
            ),
            Edit("        if any(verdict.allowed for verdict in verdicts.values()):\n", "        if True:\n"),
        ),
        (_FLOWS + "test_a_link_table_links_nobody_who_is_not_permitted",),
    ),
)
