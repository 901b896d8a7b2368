"""A refusal that comes last: what it means for a verdict is what deciding from all records gives."""

from dataclasses import replace
from datetime import datetime

from hypothesis import assume, given
from hypothesis import strategies as st

from cdp.consent.decide import decide
from cdp.consent.last_refusal import can_be_overridden_before, last_refusal
from cdp.consent.model import Act, Record, VerdictFacts
from cdp.policy.model import Purpose
from tests.generative.test_consent import FACTS, INSTANTS, RULES, SETS, records, restrictions
from tests.spec.consent.acts import purpose

STANDING_OPT_INS = purpose(sale_or_sharing=True, opt_in_overrides_gpc=True)
REFUSALS = records().filter(lambda record: record.act.is_refusal)


@given(
    SETS,
    st.lists(restrictions(), max_size=2),
    REFUSALS,
    RULES | st.just(STANDING_OPT_INS),
    FACTS,
    INSTANTS,
)
def test_it_means_what_all_records_together_mean(
    told: list[Record], held: list[Record], refusal: Record, rule: Purpose, facts: VerdictFacts, now: datetime
) -> None:
    refusal = replace(refusal, is_shared=True)
    known = [*told, *held]
    facts = replace(facts, jurisdictions=facts.jurisdictions | {refusal.jurisdiction})
    at = min(refusal.last_at, now)
    grants = [record for record in told if record.act is Act.GRANT and not record.is_shared]
    assume(not any(grant.at > at for grant in grants))
    assume(not (can_be_overridden_before(refusal, rule) and any(grant.is_two_step for grant in grants)))
    before = decide(known, rule, facts, now=now)
    after = decide([*known, refusal], rule, facts, now=now)
    meaning = last_refusal(refusal, rule, now=now)
    assert not after.allowed
    if not before.allowed and before.reason in meaning.undecided:
        return
    kept = not before.allowed and before.reason in meaning.kept
    assert after.reason is (before.reason if kept else meaning.reason)
