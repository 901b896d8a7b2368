"""The rules of docs/explanation/consent.md, "How a verdict is decided", as a table of acts and verdicts."""

from dataclasses import replace
from typing import Any

import pytest

from cdp.consent.decide import covers, is_permitted
from cdp.consent.model import ALWAYS, Authority, Reason, Record, Verdict, VerdictFacts
from cdp.consent.opt_in import may_ask_from, opt_in_over_gpc
from cdp.policy.model import ConsentModel, Purpose, UnknownAge
from tests.spec.consent.acts import (
    ANALYTICS,
    CALIFORNIA,
    CONTRACT,
    EU,
    INTEREST,
    MARKETING,
    NOW,
    SALE,
    act,
    day,
    grant,
    object_to,
    purpose,
    refuse,
    verdict,
    withdraw,
)

NOES = ("refuse", "withdraw", "object")


class TestOptIn:
    def test_absent_is_not_granted(self) -> None:
        assert verdict() == Verdict(False, Reason.NO_GRANT)

    def test_a_live_grant_allows_from_its_instant(self) -> None:
        yes = grant(3)
        assert verdict(yes) == Verdict(True, Reason.GRANTED, since=day(3), by=(yes.record_id,))

    def test_a_grant_of_any_identifier_is_enough(self) -> None:
        assert verdict(grant(3, on=7)).allowed

    @pytest.mark.parametrize("kind", NOES)
    def test_a_live_no_of_any_identifier_refuses(self, kind: str) -> None:
        assert not verdict(grant(1, on=1), act(kind, 2, on=2)).allowed

    def test_a_grant_for_another_purpose_grants_nothing(self) -> None:
        assert not verdict(grant(1, about="advertising")).allowed

    def test_a_no_for_another_purpose_takes_nothing(self) -> None:
        assert verdict(grant(1), withdraw(2, about="advertising")).allowed


class TestOptOut:
    def test_silence_allows_without_beginning(self) -> None:
        assert verdict(facts=CALIFORNIA) == Verdict(True, Reason.NOT_REFUSED, since=ALWAYS)

    @pytest.mark.parametrize("kind", NOES)
    def test_a_live_no_refuses(self, kind: str) -> None:
        no = act(kind, 2, where="us-ca")
        found = verdict(no, facts=CALIFORNIA)
        assert not found.allowed
        assert found.by == (no.record_id,)

    def test_a_universal_signal_on_one_browser_counts_for_the_whole_profile(self) -> None:
        signal = refuse(2, on=1, by="signal", signal="gpc", where="us-ca")
        others = [grant(1, on=each, where="us-ca") for each in (2, 3)]
        assert verdict(signal, *others, rule=SALE, facts=CALIFORNIA).reason is Reason.OPTED_OUT

    def test_a_lifted_no_starts_a_new_permission(self) -> None:
        found = verdict(refuse(2, where="us-ca"), grant(5, where="us-ca"), facts=CALIFORNIA)
        assert found.allowed
        assert found.since == day(5)


class TestANoYieldsOnlyToALaterGrantOfEqualOrHigherAuthority:
    RANKS = (("authenticated", 3), ("operator", 2), ("imported", 1), ("device", 0), ("signal", 0))

    @pytest.mark.parametrize(("no_by", "no_rank"), RANKS)
    @pytest.mark.parametrize(("yes_by", "yes_rank"), RANKS)
    def test_of_every_pair_of_authorities(self, no_by: str, no_rank: int, yes_by: str, yes_rank: int) -> None:
        assert verdict(refuse(1, by=no_by), grant(2, by=yes_by)).allowed == (yes_rank >= no_rank)

    def test_a_weaker_no_after_a_stronger_grant_still_refuses(self) -> None:
        assert verdict(grant(1, by="authenticated"), refuse(2, by="signal")).reason is Reason.REFUSED

    def test_an_earlier_grant_lifts_nothing(self) -> None:
        assert not verdict(grant(1, by="authenticated"), refuse(2)).allowed

    def test_at_the_same_instant_no_wins(self) -> None:
        assert not verdict(grant(2, by="authenticated"), refuse(2)).allowed

    @pytest.mark.parametrize(
        ("occurred", "recorded", "allowed"),
        [(3, 3, True), (1, 3, False), (9, 1.5, False), (9, 3, True)],
        ids=["in time", "it happened before", "a claimed future, recorded before", "a claimed future, recorded after"],
    )
    def test_later_by_the_earlier_of_happened_and_recorded(
        self, occurred: float, recorded: float, allowed: bool
    ) -> None:
        assert verdict(refuse(2), grant(occurred, recorded_at=day(recorded))).allowed == allowed

    def test_a_no_that_was_repeated_counts_at_its_last_instant_too(self) -> None:
        no = replace(refuse(1), repeated_at=day(5))
        assert not verdict(no, grant(3)).allowed
        assert verdict(no, grant(6)).since == day(6)

    def test_each_no_needs_its_own_match(self) -> None:
        acts = [refuse(1, by="authenticated", on=1), refuse(3, on=2), grant(2, by="authenticated")]
        assert not verdict(*acts).allowed
        lifted = verdict(*acts, grant(4))
        assert lifted.since == day(4)
        assert len(lifted.by) == 2


class TestAnObjectionToDirectMarketing:
    objection = object_to(1, by="device", on=1)

    @pytest.mark.parametrize(
        ("yes", "allowed"),
        [
            (grant(2, by="authenticated", on=1), True),
            (grant(2, by="authenticated", on=2), False),
            (grant(2, by="operator", on=1), False),
            (grant(2, by="device", on=1), False),
            (grant(1, by="authenticated", on=1), False),
        ],
        ids=["same subject", "another subject", "an operator", "the same device", "the same instant"],
    )
    def test_yields_only_to_the_same_authenticated_subject(self, yes: Record, allowed: bool) -> None:
        assert verdict(self.objection, yes, rule=MARKETING).allowed == allowed

    def test_is_named_as_the_reason(self) -> None:
        assert verdict(self.objection, grant(0), rule=MARKETING).reason is Reason.OBJECTED

    def test_elsewhere_an_objection_is_a_no_like_others(self) -> None:
        assert verdict(self.objection, grant(2, on=2), rule=ANALYTICS).allowed


class TestAConsentWithoutADate:
    @pytest.mark.parametrize("no", [refuse(0), refuse(1), refuse(3), withdraw(1, by="device"), object_to(1)])
    def test_lifts_no_refusal_whatever_its_authority(self, no: Record) -> None:
        assert not verdict(no, grant(2, by="authenticated", is_undated=True)).allowed

    def test_counts_where_there_is_no_refusal(self) -> None:
        assert verdict(grant(2, is_undated=True)).reason is Reason.GRANTED

    def test_is_not_what_permits_after_a_dated_one_lifted_the_refusal(self) -> None:
        dated = grant(2)
        assert verdict(refuse(1), dated, grant(3, is_undated=True)).by == (dated.record_id,)


class TestAnOptOutOfSale:
    @pytest.mark.parametrize(
        ("no", "yes", "allowed"),
        [
            (refuse(1, where="us-ca"), grant(2, where="us-ca"), False),
            (refuse(1, where="us-ca"), grant(2, where="us-ca", by="authenticated"), False),
            (refuse(1, where="us-ca"), grant(2, where="us-ca", is_two_step=True), False),
            (refuse(1, where="nowhere known"), grant(2, where="us-ca"), False),
            (refuse(1, where="eu"), grant(2, where="eu"), True),
            (refuse(1, where="eu", by="signal", signal="gpc"), grant(2, where="eu"), False),
        ],
        ids=[
            "one step",
            "one step by an authenticated subject",
            "one call that claims to be the second step",
            "jurisdiction unknown",
            "a refused opt-in is no opt-out",
            "a universal signal is one everywhere",
        ],
    )
    def test_yields_only_to_a_two_step_opt_in(self, no: Record, yes: Record, allowed: bool) -> None:
        assert verdict(no, yes, rule=SALE, facts=EU).allowed == allowed

    @pytest.mark.parametrize(
        ("first", "second", "allowed"),
        [
            (grant(2, where="us-ca"), grant(2.5, where="us-ca", is_two_step=True), True),
            (grant(2, where="us-ca"), grant(2.5, where="us-ca"), False),
            (grant(2, where="us-ca", is_two_step=True), grant(2.5, where="us-ca"), False),
            (grant(2, where="us-ca", is_two_step=True), grant(2.5, where="us-ca", is_two_step=True), True),
            (grant(2, where="us-ca"), grant(3, where="us-ca", is_two_step=True), True),
            (grant(2, where="us-ca"), grant(3.01, where="us-ca", is_two_step=True), False),
            (grant(2, where="us-ca"), grant(2, where="us-ca", is_two_step=True), False),
            (grant(0.9, where="us-ca"), grant(1.2, where="us-ca", is_two_step=True), False),
            (grant(1, where="us-ca"), grant(1.5, where="us-ca", is_two_step=True), False),
            (grant(2, where="us-ca", on=2), grant(2.5, where="us-ca", is_two_step=True), False),
            (grant(2, where="us-ca", is_shared=True), grant(2.5, where="us-ca", is_two_step=True), False),
            (grant(2, where="us-ca", is_undated=True), grant(2.5, where="us-ca", is_two_step=True), False),
        ],
        ids=[
            "request and confirmation",
            "two requests",
            "the confirmation first",
            "two confirmations",
            "at the end of the window",
            "after the window",
            "at one instant",
            "requested before the opt-out",
            "requested at the instant of the opt-out",
            "of two identifiers",
            "requested by a shared identifier",
            "requested at an unknown instant",
        ],
    )
    def test_an_opt_in_takes_two_acts_of_one_identifier(self, first: Record, second: Record, allowed: bool) -> None:
        assert verdict(refuse(1, where="us-ca"), first, second, rule=SALE, facts=EU).allowed == allowed

    @pytest.mark.parametrize("no", ["authenticated", "operator", "imported", "device", "signal"])
    @pytest.mark.parametrize("first", ["authenticated", "operator", "imported", "device"])
    @pytest.mark.parametrize("second", ["authenticated", "operator", "imported", "device"])
    def test_both_steps_need_the_authority_of_the_opt_out(self, no: str, first: str, second: str) -> None:
        steps = grant(2, by=first, where="us-ca"), grant(2.5, by=second, where="us-ca", is_two_step=True)
        is_enough = all(step.authority.rank >= Authority(no).rank for step in steps)
        assert verdict(refuse(1, by=no, where="us-ca"), *steps, rule=SALE, facts=EU).allowed == is_enough

    @pytest.mark.parametrize("begun", ["request", "confirmation", "neither"])
    @pytest.mark.parametrize(("at", "may_ask"), [(30, False), (370, True)])
    def test_within_twelve_months_only_the_person_begins(self, begun: str, at: int, may_ask: bool) -> None:
        facts = replace(EU, ask_again_after_months=12)
        steps = (
            grant(at, where="us-ca", is_subject_initiated=begun == "request"),
            grant(at + 0.5, where="us-ca", is_two_step=True, is_subject_initiated=begun == "confirmation"),
        )
        found = verdict(refuse(1, where="us-ca"), *steps, rule=SALE, facts=facts, now=day(400))
        assert found.allowed == (may_ask or begun != "neither")

    def test_nobody_asks_again_for_twelve_months(self) -> None:
        opt_out = refuse(59, where="us-ca")
        assert opt_out.at.isoformat() == "2026-03-01T00:00:00+00:00"
        again = may_ask_from([grant(1), opt_out], SALE, 12)
        assert again is not None
        assert again.isoformat() == "2027-03-01T00:00:00+00:00"

    def test_without_an_opt_out_there_is_no_wait(self) -> None:
        assert may_ask_from([grant(1), refuse(2, where="eu")], SALE, 12) is None
        assert may_ask_from([refuse(2, where="us-ca")], ANALYTICS, 12) is None

    def test_a_day_that_does_not_exist_makes_the_wait_longer(self) -> None:
        opt_out = refuse(30, where="us-ca")
        assert opt_out.at.day == 31
        again = may_ask_from([opt_out], SALE, 1)
        assert again is not None
        assert (again.month, again.day) == (3, 1)


class TestASignalAfterAnOptIn:
    """A browser repeats its GPC signal after the person opted in, signed in."""

    rule = purpose(sale_or_sharing=True, opt_in_overrides_gpc=True)
    opt_in = (
        grant(2, by="authenticated", on=2, where="us-ca"),
        grant(2.5, by="authenticated", on=2, where="us-ca", is_two_step=True),
    )

    def gpc(self, at: float, *, on: int = 1, source: int = 7, **more: Any) -> Record:
        return refuse(at, by="signal", signal="gpc", on=on, where="us-ca", source_id=source, **more)

    @pytest.mark.parametrize(
        "repeated",
        [
            lambda self: (self.gpc(1, repeated_at=day(5)),),
            lambda self: (self.gpc(1), self.gpc(5)),
            lambda self: (self.gpc(1), self.gpc(5, on=2)),
            lambda self: (self.gpc(1), self.gpc(2.2)),
        ],
        ids=["as a repetition", "as an act", "about another identifier", "between the steps"],
    )
    def test_the_opt_in_stands_by_policy_alone(self, repeated: Any) -> None:
        signals = repeated(self)
        found = verdict(*signals, *self.opt_in, rule=self.rule)
        assert found.allowed
        assert self.opt_in[1].record_id in found.by
        assert opt_in_over_gpc([*signals, *self.opt_in], self.rule, months=0, now=NOW) == self.opt_in[1]
        assert not verdict(*signals, *self.opt_in, rule=SALE).allowed
        assert opt_in_over_gpc([*signals, *self.opt_in], SALE, months=0, now=NOW) is None

    def test_a_signal_of_a_site_that_sent_none_before_counts(self) -> None:
        assert not verdict(self.gpc(1), self.gpc(5, source=8), *self.opt_in, rule=self.rule).allowed
        assert not verdict(self.gpc(5), *self.opt_in, rule=self.rule).allowed

    def test_a_signal_after_the_opt_in_expired_counts(self) -> None:
        first, second = self.opt_in
        expired = replace(second, valid_until=day(4))
        signals = self.gpc(1), self.gpc(5)
        later = grant(6, by="authenticated", on=2, where="us-ca")
        assert not verdict(*signals, first, expired, later, rule=self.rule).allowed
        assert opt_in_over_gpc([*signals, first, expired], self.rule, months=0, now=NOW) is None

    @pytest.mark.parametrize("kind", NOES)
    def test_another_opt_out_counts(self, kind: str) -> None:
        assert not verdict(self.gpc(1), *self.opt_in, act(kind, 5, where="us-ca"), rule=self.rule).allowed

    @pytest.mark.parametrize("by", ["operator", "imported", "device"])
    def test_an_opt_in_that_is_not_authenticated_does_not_stand(self, by: str) -> None:
        steps = grant(2, by=by, where="us-ca"), grant(2.5, by=by, where="us-ca", is_two_step=True)
        assert not verdict(self.gpc(1, repeated_at=day(5)), *steps, rule=self.rule).allowed


class TestAnotherLegalBasis:
    known = VerdictFacts(jurisdictions=frozenset({"eu"}), has_unique_identifier=True)

    def test_needs_a_unique_identifier(self) -> None:
        assert verdict(rule=CONTRACT, facts=EU).reason is Reason.NO_UNIQUE_IDENTIFIER
        assert verdict(rule=CONTRACT, facts=self.known) == Verdict(True, Reason.LEGAL_BASIS, since=ALWAYS)

    @pytest.mark.parametrize("kind", NOES)
    def test_cannot_be_refused(self, kind: str) -> None:
        assert verdict(act(kind, 1), rule=CONTRACT, facts=self.known).allowed

    @pytest.mark.parametrize(
        ("event", "category", "is_server", "covered"),
        [
            ("Order Completed", "user.behavior.purchase_history", True, True),
            ("Order Completed", "user.behavior.purchase_history", False, False),
            ("Product Viewed", "user.behavior.browsing_history", True, False),
            ("Order Completed", "user.contact", True, False),
        ],
        ids=["listed", "a browser's word", "not listed", "another category"],
    )
    def test_covers_only_what_it_lists(self, event: str, category: str, is_server: bool, covered: bool) -> None:
        assert covers(CONTRACT, event, category, is_server=is_server) == covered

    def test_consent_covers_every_event_of_its_categories_from_any_source(self) -> None:
        assert covers(ANALYTICS, "Anything", "user.behavior", is_server=False)
        assert not covers(ANALYTICS, "Anything", "user.contact", is_server=True)

    def test_legitimate_interests_can_be_objected_to(self) -> None:
        assert verdict(rule=INTEREST) == Verdict(True, Reason.LEGAL_BASIS, since=ALWAYS)
        assert verdict(object_to(1), rule=INTEREST).reason is Reason.OBJECTED
        assert verdict(object_to(1), grant(2), rule=INTEREST).since == day(2)


class TestJurisdictions:
    @pytest.mark.parametrize(
        ("named", "allowed"),
        [({"us-ca"}, True), ({"eu"}, False), ({"us-ca", "eu"}, False), ({"atlantis"}, False), (set(), False)],
        ids=["opt-out", "opt-in", "the strictest of two", "an unknown one", "none"],
    )
    def test_the_strictest_wins(self, named: set[str], allowed: bool) -> None:
        assert verdict(facts=VerdictFacts(jurisdictions=frozenset(named))).allowed == allowed

    def test_those_of_the_records_count(self) -> None:
        assert not verdict(grant(1, about="advertising", where="eu"), facts=CALIFORNIA).allowed


class TestSharedIdentifiers:
    def test_a_no_counts(self) -> None:
        assert not verdict(grant(1), refuse(2, on=9, is_shared=True)).allowed

    def test_a_grant_counts_for_nobody(self) -> None:
        assert verdict(grant(1, is_shared=True)) == Verdict(False, Reason.NO_GRANT)

    def test_a_grant_lifts_nothing(self) -> None:
        assert not verdict(refuse(1, where="us-ca"), grant(2, where="us-ca", is_shared=True), facts=CALIFORNIA).allowed


class TestValidity:
    def test_a_grant_ends_at_its_instant(self) -> None:
        yes = grant(1, valid_until=day(30))
        assert verdict(yes, now=day(29)).until == day(30)
        assert verdict(yes, now=day(30)) == Verdict(False, Reason.EXPIRED, by=(yes.record_id,))

    def test_a_no_never_ends(self) -> None:
        assert not verdict(grant(1), refuse(2), now=day(100_000)).allowed

    def test_a_grant_that_follows_without_a_gap_goes_on(self) -> None:
        found = verdict(grant(1, valid_until=day(30)), grant(30, valid_until=day(60)), now=day(40))
        assert (found.since, found.until) == (day(1), day(60))

    def test_a_gap_starts_a_new_permission(self) -> None:
        assert verdict(grant(1, valid_until=day(30)), grant(31), now=day(40)).since == day(31)

    def test_the_end_acts_like_a_withdrawal_also_where_silence_would_do(self) -> None:
        yes = grant(1, valid_until=day(30), where="us-ca")
        assert verdict(yes, facts=CALIFORNIA, now=day(31)).reason is Reason.EXPIRED

    def test_a_no_that_was_lifted_returns_when_the_grant_ends(self) -> None:
        acts = [grant(1), refuse(2), grant(3, valid_until=day(30))]
        assert verdict(*acts, now=day(10)).until == day(30)
        assert verdict(*acts, now=day(31)).reason is Reason.REFUSED


class TestPersonsAndTheirState:
    young = purpose(minimum_age=16, unknown_age=UnknownAge.REFUSE)

    @pytest.mark.parametrize(
        ("age", "reason"),
        [(16, Reason.GRANTED), (15, Reason.TOO_YOUNG), (None, Reason.AGE_UNKNOWN)],
    )
    def test_a_minimum_age(self, age: int | None, reason: Reason) -> None:
        assert verdict(grant(1), rule=self.young, facts=replace(EU, age=age)).reason is reason

    def test_an_unknown_age_may_be_allowed_by_policy(self) -> None:
        assert verdict(grant(1), rule=purpose(minimum_age=16, unknown_age=UnknownAge.ALLOW)).allowed

    @pytest.mark.parametrize("rule", [ANALYTICS, INTEREST, CONTRACT], ids=lambda rule: rule.legal_basis.value)
    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (replace(EU, is_restricted=True), Reason.RESTRICTED),
            (replace(EU, is_quarantined=True), Reason.QUARANTINED),
        ],
        ids=["restricted", "quarantined"],
    )
    def test_restriction_and_quarantine_refuse_every_purpose(
        self, rule: Purpose, state: VerdictFacts, reason: Reason
    ) -> None:
        facts = replace(state, has_unique_identifier=True)
        assert verdict(grant(1), rule=rule, facts=facts) == Verdict(False, reason)


class TestPeriods:
    def test_permitted_at_every_instant_from_occurred_to_received(self) -> None:
        found = Verdict(True, Reason.GRANTED, since=day(5), until=day(10))
        assert is_permitted(found, day(5), day(9))
        assert not is_permitted(found, day(4), day(9))
        assert not is_permitted(found, day(5), day(10))
        assert not is_permitted(Verdict(False, Reason.REFUSED), day(5), day(9))


def test_a_new_purpose_starts_with_nobody_eligible() -> None:
    new = purpose(key="novel", model={"eu": ConsentModel.OPT_IN})
    assert not verdict(grant(1), rule=new).allowed
