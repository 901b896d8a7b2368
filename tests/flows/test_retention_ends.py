"""Years later nothing is left that a retention class says is gone, and every refusal still holds."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from cdp.accounting.model import State
from cdp.flows.identity.unmerge import unmerge
from cdp.flows.operations.retention import SweepResult, sweep
from cdp.flows.rights import requests
from cdp.flows.rights.restrict import release
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.rights.store.suppressions import EVERYTHING, suppressed_purposes
from cdp.vault.pseudonym import GRAPH, SUPPRESSION
from tests.support.messages import consent_context, identify, order, track
from tests.support.people import ADA, BOB, CALIFORNIA, WEB
from tests.support.policies import changed, permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

POLICY = permit_all()
KEPT_DAYS = POLICY.retention.identifiers.keep_for_days


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    return open_request_pipeline(database, POLICY, tmp_path)


def run(rights: RequestPipeline, *, dry_run: bool = False, rows_max: int = 10_000) -> SweepResult:
    return sweep(rights.context, rights.pipeline.clock.now(), dry_run=dry_run, rows_max=rows_max)


def refused(rights: RequestPipeline, type_: str, value: str) -> frozenset[str]:
    """The purposes for which the identifier is suppressed."""
    pseudonym = rights.context.vault.hashes.pseudonym(SUPPRESSION, type_, value)
    with rights.context.database.transaction(read_only=True) as tx:
        return suppressed_purposes(tx, [pseudonym], rights.pipeline.clock.now()).get(pseudonym, frozenset())


def purposes_of(rights: RequestPipeline, type_: str, value: str) -> set[str]:
    """The purposes that are permitted for the profile of an identifier."""
    pseudonym = rights.context.vault.hashes.pseudonym(GRAPH, type_, value)
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute(
            "SELECT purpose FROM consent.permitted JOIN identity.link USING (profile_id) "
            "JOIN identity.identifier USING (identifier_id) WHERE pseudonym = %(pseudonym)s",
            {"pseudonym": pseudonym},
        )
    return {purpose for (purpose,) in rows}


def people(rights: RequestPipeline) -> None:
    """Lives of several people: merges, an undone one, consents and refusals, requests, a delivery, a membership."""
    send = rights.pipeline.send
    send(ADA, order(userId="ada", properties={"order_id": "o-1", "revenue": 9}))
    send({**ADA, "anonymousId": "ada-phone", "context": consent_context(advertising=True, personalization=True)})
    send(track(anonymousId="ada-tablet"), source=WEB)
    send(track(userId="ada", anonymousId="ada-tablet"))
    unmerge(rights.context, Identifier("user_id", "ada"), Identifier("anonymous_id", "ada-tablet"), dry_run=False)
    send(BOB, {**BOB, "context": consent_context(advertising=False, email_marketing=False)})
    send(track(anonymousId="west"), source=CALIFORNIA, has_gpc=True)
    send(track(userId="bob", anonymousId="kiosk"), track(userId="ada", anonymousId="kiosk"))
    with rights.context.database.transaction() as tx:
        tx.execute(
            "INSERT INTO destinations.outbox (destination, kind, profile_id, recipient_pseudonym, body, created_at, due_at, "
            "attempts) SELECT 'newsletter', 'membership', profile_id, 'theirs', '{}', %(now)s, %(now)s, 1 "
            "FROM identity.profile",
            {"now": rights.pipeline.clock.now()},
        )
    send(identify(userId="cy", traits={"email": "cy@example.com"}), order(userId="cy", properties={"revenue": 3}))
    rights.erase(("user_id", "cy"))
    request = rights.ask("access", ("user_id", "bob"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())


def test_seven_years_later_nothing_is_left_that_a_class_says_is_gone(rights: RequestPipeline) -> None:
    people(rights)
    filled = {table for table, rows in rights.counts().items() if rows}
    assert {"identity.evidence", "identity.never", "consent.record", "identity.resolution"} <= filled
    rights.later(days=7 * 365.25)
    requests.sweep_requests(rights.context, rights.pipeline.clock.now())
    swept = run(rights)
    left = {table: rows for table, rows in rights.counts().items() if rows}
    held = rights.pipeline.one("SELECT count(*) FROM rights.hold")
    assert left == {"vault.subject_key": held}
    assert held == 2, "the law keeps the amounts of two orders for eight years"
    assert rights.pipeline.one("SELECT count(*) FROM audit.fact WHERE kind = 'request.fulfilled'") == 0
    assert rights.pipeline.people() == {}
    assert {line.table for line in swept.lines} >= {"identity.identifier", "consent.record", "rights.suppression"}
    rights.later(days=367)
    run(rights)
    assert not any(rights.counts().values())
    assert rights.pipeline.one("SELECT count(*) FROM rights.hold") == 0


def test_every_refusal_still_holds(rights: RequestPipeline) -> None:
    people(rights)
    rights.later(days=7 * 365.25)
    run(rights)
    assert {"advertising", "email_marketing"} <= refused(rights, "email", "bob@example.com")
    assert "advertising" in refused(rights, "anonymous_id", "west")
    assert refused(rights, "user_id", "cy") == {EVERYTHING}
    assert refused(rights, "user_id", "ada") & {"analytics", "email_marketing"} == frozenset()
    rights.pipeline.send(track(anonymousId="west"), source=CALIFORNIA)
    assert "advertising" not in purposes_of(rights, "anonymous_id", "west")
    assert rights.pipeline.send(identify(userId="cy"))[0].state is State.SUPPRESSED


def test_the_refusal_of_an_old_device_stays_with_the_person(rights: RequestPipeline) -> None:
    """Without the device, nothing may be permitted that its refusal forbade: here the opt-out signal of a browser."""
    rights.pipeline.send(track(anonymousId="old"), source=CALIFORNIA, has_gpc=True)
    rights.pipeline.send(track(userId="eve", anonymousId="old"), source=CALIFORNIA)
    assert "advertising" not in purposes_of(rights, "user_id", "eve")
    rights.later(days=KEPT_DAYS - 30)
    rights.pipeline.send(track(userId="eve", anonymousId="new"), source=CALIFORNIA)
    before = purposes_of(rights, "user_id", "eve")
    rights.later(days=40)
    run(rights)
    assert rights.pipeline.partition() == {frozenset({("user_id", "eve"), ("anonymous_id", "new")})}
    assert purposes_of(rights, "user_id", "eve") == before
    assert "advertising" not in before
    rights.later(days=KEPT_DAYS + 2)
    run(rights)
    assert "advertising" in refused(rights, "user_id", "eve")


def test_an_old_identifier_leaves_the_person_and_what_is_retained_stays(rights: RequestPipeline) -> None:
    policy = changed(POLICY, "retention.yaml", identifiers={"keep_for_days": 100, "reason": "for the test"})
    rights = open_request_pipeline(rights.context.database, policy, rights.home)
    rights.pipeline.send(ADA, order(userId="ada", anonymousId="old", properties={"order_id": "o-1", "revenue": 9}))
    rights.later(days=90)
    rights.pipeline.send(ADA)
    rights.later(days=20)
    run(rights)
    assert rights.pipeline.partition() == {frozenset({("user_id", "ada"), ("email", "ada@example.com")})}
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 3
    assert rights.pipeline.one("SELECT count(*) FROM rights.hold") == 0
    assert rights.export(("user_id", "ada"))["data"]["behavior.event"]
    rights.erase(("user_id", "ada"))
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 0


@pytest.mark.parametrize("rows_max", [1, 3, 10_000])
def test_a_dry_run_counts_the_identifiers_that_end_and_chunks_come_to_the_same(
    rights: RequestPipeline, rows_max: int
) -> None:
    people(rights)
    rights.later(days=KEPT_DAYS + 40)
    known = rights.pipeline.one("SELECT count(*) FROM identity.identifier")
    planned = rows(run(rights, dry_run=True))
    assert planned["identity.identifier"] == known
    assert rights.pipeline.one("SELECT count(*) FROM identity.identifier") == known
    assert rows(run(rights, rows_max=rows_max))["identity.identifier"] == known
    assert rights.counts(without=["vault.subject_key"]).items() >= {("identity.profile", 0), ("consent.record", 0)}
    assert not any(rows(run(rights)).values())


def test_a_day_before_its_term_an_identifier_stays(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA)
    rights.later(days=KEPT_DAYS)
    run(rights)
    assert rights.pipeline.people() != {}
    rights.later(days=1)
    run(rights)
    assert rights.pipeline.people() == {}


def test_a_restricted_person_is_kept_until_the_restriction_ends(rights: RequestPipeline) -> None:
    """GDPR Art. 18: what is stored stays stored, for the person may need it."""
    rights.pipeline.send(ADA, BOB)
    request = rights.ask("restriction", ("user_id", "ada"))
    requests.run(rights.context, request.request_id, rights.pipeline.clock.now())
    rights.later(days=KEPT_DAYS + 40)
    assert rows(run(rights, dry_run=True))["identity.identifier"] == 2
    run(rights, rows_max=1)
    assert rights.pipeline.partition() == {frozenset({("user_id", "ada"), ("email", "ada@example.com")})}
    assert purposes_of(rights, "user_id", "ada") == set()
    release(rights.context, [("user_id", "ada")], is_informed=True, now=rights.pipeline.clock.now())
    run(rights)
    assert rights.pipeline.people() == {}


class TestConsentRecords:
    """Grants end when they ceased to be decisive; a refusal stays with its identifier."""

    def acts(self, rights: RequestPipeline) -> Sequence[tuple[str, str]]:
        with rights.context.database.transaction(read_only=True) as tx:
            return tx.execute("SELECT DISTINCT purpose, act FROM consent.record ORDER BY 1, 2")

    def says(self, rights: RequestPipeline, **answers: bool) -> None:
        rights.pipeline.send({**ADA, "context": consent_context(**answers)})

    def keep_alive(self, rights: RequestPipeline, years: int) -> None:
        for _ in range(years * 2):
            rights.later(days=182.625)
            rights.pipeline.send(track(userId="ada"), ADA)
            run(rights)

    def test_an_expired_grant_ends_and_a_later_refusal_stays(self, rights: RequestPipeline) -> None:
        self.says(rights, email_marketing=True)
        rights.later(days=1)
        self.says(rights, email_marketing=False)
        assert self.acts(rights) == [("email_marketing", "grant"), ("email_marketing", "refuse")]
        self.keep_alive(rights, 7)
        assert self.acts(rights) == [("email_marketing", "refuse")]
        assert "email_marketing" not in purposes_of(rights, "user_id", "ada")

    def test_a_grant_that_still_decides_stays(self, rights: RequestPipeline) -> None:
        assert POLICY.purposes["email_marketing"].validity_days == 730
        self.says(rights, email_marketing=True)
        for _ in range(6):
            rights.later(days=365)
            self.says(rights, email_marketing=True)
            run(rights)
        assert "email_marketing" in purposes_of(rights, "user_id", "ada")

    def test_an_expired_grant_that_acts_like_a_withdrawal_stays(self, rights: RequestPipeline) -> None:
        """Where the absence of records would permit, the last grant is what refuses after its end."""
        self.says(rights, personalization=True)
        self.keep_alive(rights, 7)
        assert self.acts(rights) == [("personalization", "grant")]
        assert "personalization" not in purposes_of(rights, "user_id", "ada")


def test_a_suppression_ends_with_its_term_and_opt_out_purposes_stay_refused(rights: RequestPipeline) -> None:
    policy = changed(POLICY, "retention.yaml", suppressions={"keep_for_days": 30, "reason": "for the test"})
    rights = open_request_pipeline(rights.context.database, policy, rights.home)
    rights.pipeline.send(ADA)
    rights.erase(("user_id", "ada"))
    rights.later(days=29)
    run(rights)
    assert refused(rights, "user_id", "ada") == {EVERYTHING}
    rights.pipeline.clock.instant += timedelta(days=2)
    run(rights)
    left = refused(rights, "user_id", "ada")
    assert EVERYTHING not in left
    assert {"advertising", "personalization"} <= left
    assert "email_marketing" not in left
    assert rights.pipeline.one("SELECT count(*) FROM rights.suppression WHERE until IS NOT NULL") == 0


def rows(swept: SweepResult) -> dict[str, int]:
    """Rows by table and part, lines without any left out."""
    return {f"{line.table} {line.part}".strip(): line.rows for line in swept.lines if line.rows}


def test_an_anchor_that_names_no_identifier_ends_with_what_happened_on_it(rights: RequestPipeline) -> None:
    rights.pipeline.send(ADA, order(userId="ada", properties={"revenue": 3}), track(anonymousId="kept"))
    with rights.context.database.transaction() as tx:
        tx.execute(
            "DELETE FROM identity.anchor_member USING identity.identifier AS i "
            "WHERE i.identifier_id = anchor_member.identifier_id AND i.type <> 'anonymous_id'"
        )
    run(rights, dry_run=True)
    assert rights.pipeline.one("SELECT count(*) FROM identity.anchor") == 3
    run(rights)
    assert rights.pipeline.one("SELECT count(*) FROM identity.anchor") == 1
    assert rights.pipeline.one("SELECT count(*) FROM behavior.event") == 1
