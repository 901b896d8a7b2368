"""For every basis of a purpose, what becomes of the data of a person who is not permitted: it is neither stored nor counted.

`tests/support/mutations` names these tests; each goes red when the check of its stage is removed. Where a state cannot be
reached without a fault elsewhere, a test makes it: each stage has to hold alone.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.behavior.store.buckets import recompute_buckets
from cdp.behavior.store.computed import computed_of
from cdp.behavior.store.events import uncovered
from cdp.consent.last_refusal import LastRefusal
from cdp.consent.model import WITHOUT_CLEARING, Reason
from cdp.consent.store import verdicts as verdict_store
from cdp.consent.store.last_refusals import refuse_all
from cdp.consent.store.projection import bits_of, prepare_purposes
from cdp.consent.store.verdicts import permitted_of
from cdp.flows.consent.acts import ConsentStatement, record
from cdp.flows.consent.clearing import clear
from cdp.flows.consent.verdicts import project_traits
from cdp.flows.identity.link_table.table import import_links
from cdp.flows.imports.mapping import load_mapping
from cdp.flows.imports.messages import import_file
from cdp.flows.rights import requests
from cdp.flows.rights.rectify import _purpose_bits
from cdp.kit.db import Database, Transaction
from cdp.postgres.server import EmbeddedPostgres
from cdp.rights.model import CorrectedTrait
from tests.support.deferring import PATIENT, PATIENT_SHOP, Deferring, open_deferring
from tests.support.every_basis import (
    ALL,
    LISTED,
    NOT_ALLOWED,
    REFUSABLE,
    REFUSALS,
    Basis,
    Everybody,
    closed_identifier,
    everybody_in,
    named,
    policy_of,
    refuse,
)
from tests.support.messages import identify, order, track
from tests.support.people import SHOP
from tests.support.requests import open_request_pipeline

pytestmark = pytest.mark.postgres

SILENT = (Basis.OPT_IN, *LISTED)
"""Bases for which a browser of which nothing is known is not permitted."""
REFUSED = tuple(basis for basis in REFUSABLE if basis is not Basis.OPT_IN)


@pytest.fixture(scope="module")
def people(server: EmbeddedPostgres, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Everybody]:
    with everybody_in(server, template, tmp_path_factory.mktemp("people")) as people:
        yield people


def buckets(tx: Transaction, people: Everybody, profile_id: int) -> set[str]:
    """The computed traits of which a profile has buckets."""
    rows = tx.execute(
        "SELECT trait FROM behavior.bucket WHERE anchor_id = ANY(%(anchors)s::bigint[])",
        {"anchors": people.anchors(tx, profile_id)},
    )
    return {trait for (trait,) in rows}


def projected(tx: Transaction, people: Everybody, profile_id: int, basis: Basis) -> set[str]:
    """The names of the traits in a projection, after it was brought up to date."""
    project_traits(tx, people.context.policy, bits_of(tx), profile_ids=[profile_id], now=people.context.clock.now())
    ((traits,),) = tx.execute(
        "SELECT traits FROM consent.permitted WHERE profile_id = %(id)s AND purpose = %(purpose)s",
        {"id": profile_id, "purpose": basis.value},
    )
    return set(traits)


def recompute(tx: Transaction, people: Everybody, profile_id: int) -> set[str]:
    """The computed traits of which a profile has buckets, after they were recomputed."""
    recompute_buckets(tx, people.plan(tx), people.anchors(tx, profile_id), now=people.context.clock.now())
    return buckets(tx, people, profile_id)


@pytest.mark.parametrize("basis", ALL)
def test_the_door_stores_nothing_for_a_purpose_that_is_not_permitted(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        assert basis in people.purposes_of_events(tx, people.open(tx))[-1]
        assert basis not in people.purposes_of_events(tx, people.closed(tx, basis))[-1]


@pytest.mark.parametrize("basis", REFUSABLE)
def test_the_door_stores_nothing_from_before_a_permission(people: Everybody, basis: Basis) -> None:
    again = ("user_id", f"again-{basis}")
    pipeline, before = people.rights.pipeline, people.context.clock.now()
    pipeline.send(identify(**named(again)))
    refuse(people.context, basis, again)
    for is_two_step in (False, True):
        people.rights.later(hours=1)
        granted = ConsentStatement(again, basis.value, "grant", "authenticated")
        record(people.context, replace(granted, is_two_step=is_two_step, is_subject_initiated=True))
    people.rights.later(hours=1)
    pipeline.send(order(**named(again), timestamp=before.isoformat()), order(**named(again)))
    with people.undone() as tx:
        profile_id = people._profile(tx, again)
        assert [basis in purposes for purposes in people.purposes_of_events(tx, profile_id)[-2:]].count(True) == 1


@pytest.mark.parametrize("basis", ALL)
def test_rows_of_a_file_meet_the_same_door(people: Everybody, basis: Basis, tmp_path: Path) -> None:
    kind, value = closed_identifier(basis)
    file, mapping = tmp_path / f"{basis}.csv", tmp_path / "mapping.yaml"
    mapping.write_text(f"event: Order Completed\nmessage_id: order\nidentifiers: {{{kind}: who}}\n")
    file.write_text(f"who,order\n{value},import-{basis}\n")
    done = import_file(people.context, file, load_mapping(mapping), source_name="shop")
    assert done.tally.states == {"stored": 1}
    with people.undone() as tx:
        stored = people.purposes_of_events(tx, people.closed(tx, basis))
        assert basis not in stored[-1]
        assert stored[-1]


@pytest.mark.parametrize("basis", ALL)
def test_a_link_table_links_nobody_who_is_not_permitted(database: Database, tmp_path: Path, basis: Basis) -> None:
    """Where silence does not permit, new people; elsewhere people who have refused."""
    rights = open_request_pipeline(database, policy_of((basis,)), tmp_path)
    if basis in REFUSED:
        refuse(rights.context, basis, ("email", "p@example.com"))
    linked = import_links(rights.context, SHOP, [("anonymous_id", "a1", "email", "p@example.com")])
    assert linked.states == {"not_permitted": 1}


@pytest.mark.parametrize("basis", SILENT)
def test_a_message_waits_only_for_an_answer_that_can_be_given(database: Database, tmp_path: Path, basis: Basis) -> None:
    store = open_deferring(database, open_request_pipeline(database, policy_of((basis,)), tmp_path))
    state = store.send(order(anonymousId="d"), source=PATIENT_SHOP)
    assert state == ("deferred" if basis is Basis.OPT_IN else "not_permitted")


@pytest.mark.parametrize("basis", REFUSED)
def test_who_refused_has_answered_and_nothing_waits(database: Database, tmp_path: Path, basis: Basis) -> None:
    policy = policy_of((Basis.OPT_IN, basis))
    store = open_deferring(database, open_request_pipeline(database, policy, tmp_path))
    refuse(store.rights.context, basis, ("anonymous_id", "d"))
    assert store.send(track(anonymousId="d"), source=PATIENT) == "not_permitted"
    assert store.waiting == 0


def test_a_refusal_of_the_device_ends_what_waits(database: Database, tmp_path: Path) -> None:
    store: Deferring = open_deferring(database, open_request_pipeline(database, policy_of((Basis.OPT_IN,)), tmp_path))
    assert store.view() == "deferred"
    assert store.answer(opt_in=False) == "not_permitted"
    assert store.waiting == 0


@pytest.mark.parametrize("basis", REFUSABLE)
def test_a_refusal_ends_the_permission_in_force(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.closed(tx, basis)
        assert basis not in permitted_of(tx, [profile_id])[profile_id]


@pytest.mark.parametrize("basis", REFUSABLE)
def test_a_refusal_of_many_ends_their_permissions(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id, now = people.open(tx), people.context.clock.now()
        meaning = LastRefusal(Reason.REFUSED, WITHOUT_CLEARING, frozenset())
        refuse_all(tx, [profile_id], basis.value, meaning=meaning, now=now)
        assert basis not in permitted_of(tx, [profile_id])[profile_id]


@pytest.mark.parametrize("basis", LISTED)
def test_a_restriction_ends_the_permission_in_force(people: Everybody, basis: Basis) -> None:
    held = ("user_id", f"held-{basis}")
    people.rights.pipeline.send(identify(**named(held)), order(**named(held)))
    with people.undone() as tx:
        profile_id = people._profile(tx, held)
        assert basis in permitted_of(tx, [profile_id])[profile_id]
    request = people.rights.ask("restriction", held)
    requests.run(people.context, request.request_id, people.context.clock.now())
    with people.undone() as tx:
        assert permitted_of(tx, [profile_id]) == {}


@pytest.mark.parametrize("basis", ALL)
def test_a_permission_that_ended_by_time_is_found(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        now = people.context.clock.now()
        people.permit_until(tx, people.open(tx), basis, now)
        assert verdict_store.ended_by(tx, now, 10) == {people.open(tx)}


@pytest.mark.parametrize("basis", ALL)
def test_a_projection_has_only_traits_stated_for_its_purpose(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.set_bits(tx, profile_id, basis, has_bit=True)
        assert "country" in projected(tx, people, profile_id, basis)
        people.set_bits(tx, profile_id, basis, has_bit=False)
        assert projected(tx, people, profile_id, basis) == set()


@pytest.mark.parametrize("basis", ALL)
def test_a_projection_has_no_trait_from_before_the_permission(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.set_bits(tx, profile_id, basis, has_bit=True)
        people.permit_from(tx, profile_id, basis, people.context.clock.now())
        assert projected(tx, people, profile_id, basis) == set()


@pytest.mark.parametrize("basis", ALL)
def test_a_projection_has_no_trait_of_a_category_that_its_purpose_does_not_allow(
    people: Everybody, basis: Basis
) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.set_bits(tx, profile_id, basis, has_bit=True)
        assert NOT_ALLOWED not in projected(tx, people, profile_id, basis)


@pytest.mark.parametrize("basis", ALL)
def test_an_event_adds_to_no_computed_trait_of_another_purpose(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        assert f"{basis}_orders" in buckets(tx, people, people.open(tx))
        assert f"{basis}_orders" not in buckets(tx, people, people.closed(tx, basis))


@pytest.mark.parametrize("basis", ALL)
def test_a_computed_trait_counts_only_events_with_its_bit(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        assert f"{basis}_orders" in recompute(tx, people, profile_id)
        people.set_bits(tx, profile_id, basis, has_bit=False)
        assert f"{basis}_orders" not in recompute(tx, people, profile_id)


@pytest.mark.parametrize("basis", ALL)
def test_a_computed_trait_counts_no_event_from_before_the_permission(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        people.permit_from(tx, profile_id, basis, people.context.clock.now() + timedelta(days=1))
        assert f"{basis}_orders" not in recompute(tx, people, profile_id)


@pytest.mark.parametrize("basis", ALL)
def test_a_computed_trait_is_computed_for_nobody_who_is_not_permitted(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.closed(tx, basis)
        people.set_bits(tx, profile_id, basis, has_bit=True)
        assert f"{basis}_orders" not in recompute(tx, people, profile_id)


@pytest.mark.parametrize("basis", ALL)
def test_a_computed_trait_is_read_for_nobody_who_is_not_permitted(people: Everybody, basis: Basis) -> None:
    """Where a bucket was left over."""
    now = people.context.clock.now()
    with people.undone() as tx:
        open_, closed, trait = people.open(tx), people.closed(tx, basis), f"{basis}_orders"
        tx.execute(
            "UPDATE behavior.bucket SET anchor_id = %(to)s WHERE anchor_id = ANY(%(of)s::bigint[]) AND trait = %(trait)s",
            {"to": people.anchors(tx, closed)[0], "of": people.anchors(tx, open_), "trait": trait},
        )
        assert computed_of(tx, people.plan(tx), [closed], now=now)[closed][trait] == 0
    with people.undone() as tx:
        assert computed_of(tx, people.plan(tx), [open_], now=now)[open_][trait] != 0
        people.permit_until(tx, open_, basis, now)
        assert computed_of(tx, people.plan(tx), [open_], now=now)[open_][trait] == 0


@pytest.mark.parametrize("basis", ALL)
def test_a_correction_is_stored_for_no_purpose_that_is_not_permitted(people: Everybody, basis: Basis) -> None:
    def corrected(tx: Transaction, profile_id: int, name: str = "country") -> int:
        values = [CorrectedTrait(name, "FR")]
        bits = _purpose_bits(tx, people.context, values, stored={}, profiles=[profile_id])
        return bits[name] & people.mask(tx, basis)

    with people.undone() as tx:
        assert corrected(tx, people.open(tx)) != 0
        assert corrected(tx, people.closed(tx, basis)) == 0
        assert corrected(tx, people.open(tx), NOT_ALLOWED) == 0


@pytest.mark.parametrize("basis", REFUSABLE)
def test_a_withdrawal_clears_events_and_traits(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.closed(tx, basis)
        assert any(basis in purposes for purposes in people.purposes_of_events(tx, profile_id))
        clear_all(tx, people, profile_id)
        assert not any(basis in purposes for purposes in people.purposes_of_events(tx, profile_id))
        assert stated_bits(tx, people, profile_id) & people.mask(tx, basis) == 0


@pytest.mark.parametrize("basis", ALL)
def test_a_purpose_that_ends_is_cleared(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id, now = people.open(tx), people.context.clock.now()
        people.set_bits(tx, profile_id, basis, has_bit=True)
        assert stated_bits(tx, people, profile_id) & people.mask(tx, basis) != 0
        prepare_purposes(tx, [other.value for other in ALL if other is not basis], now)
        clear_all(tx, people, profile_id)
        assert not any(basis in purposes for purposes in people.purposes_of_events(tx, profile_id))
        assert stated_bits(tx, people, profile_id) & people.mask(tx, basis) == 0


def clear_all(tx: Transaction, people: Everybody, profile_id: int) -> None:
    """What the worker does with the withdrawals of a profile."""
    due = verdict_store.withdrawals(tx, 100, [profile_id])
    clear(tx, people.context.policy, due=due, now=people.context.clock.now())


def stated_bits(tx: Transaction, people: Everybody, profile_id: int) -> int:
    """The purposes of all stated traits of a profile."""
    ((bits,),) = tx.execute(
        "SELECT coalesce(bit_or(bits), 0) FROM behavior.trait WHERE anchor_id = ANY(%(anchors)s::bigint[])",
        {"anchors": people.anchors(tx, profile_id)},
    )
    return int(bits)


def test_every_basis_that_can_be_refused_has_its_act() -> None:
    assert set(REFUSALS) == set(REFUSABLE)


@pytest.mark.parametrize("basis", ALL)
def test_what_no_permission_covers_is_found(people: Everybody, basis: Basis) -> None:
    """As where an anchor moved to a profile that is not permitted."""
    with people.undone() as tx:
        profile_id = people.closed(tx, basis)
        people.set_bits(tx, profile_id, basis, has_bit=True)
        assert (profile_id, basis.value) in uncovered(tx, [profile_id], bits_of(tx))


@pytest.mark.parametrize("basis", ALL)
def test_what_a_later_permission_does_not_cover_is_found(people: Everybody, basis: Basis) -> None:
    with people.undone() as tx:
        profile_id = people.open(tx)
        assert (profile_id, basis.value) not in uncovered(tx, [profile_id], bits_of(tx))
        people.permit_from(tx, profile_id, basis, people.context.clock.now())
        assert (profile_id, basis.value) in uncovered(tx, [profile_id], bits_of(tx))
