"""What a text may not say: each refusal names the rule and what would be right."""

from datetime import UTC, datetime

import pytest

from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import MAX_NODES, check, understand
from cdp.query.language.explain import FieldUse, fields_of, purposes_of, standing
from cdp.query.language.rejection import Rejection
from tests.support.policies import changed
from tests.support.segment_histories import ORDER, OTHER, PURPOSE, TRIAL, catalogue, meaning, policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CATALOGUE = catalogue()


def refusals(text: str, purpose: str = PURPOSE, key: str | None = None, now: datetime | None = NOW) -> list[str]:
    found = understand(text, CATALOGUE, purpose, key=key, now=now)
    return [f"{each.position}: {each.message} | {each.hint}" for each in found] if isinstance(found, tuple) else []


@pytest.mark.parametrize(
    ("text", "purpose", "refusal"),
    [
        (
            "trait.age > 1",
            "advertising",
            "0: the trait age is user.demographic, which the purpose advertising does not allow",
        ),
        ("computed.nothing > 1", PURPOSE, "0: the computed trait nothing is not in policies/traits.yaml"),
        (
            "computed.page_views_count > 1",
            PURPOSE,
            "0: the computed trait page_views_count serves the purpose analytics",
        ),
        ('did("page")', "service", '4: the purpose service does not cover "page"'),
        ('did("Email Opened")', "advertising", '4: the event "Email Opened" is user.behavior.engagement, which'),
        (f'did("{TRIAL}" where secret = "x")', PURPOSE, f'18: the property secret of "{TRIAL}" is sealed'),
        (
            f'did("{TRIAL}" where scroe > 1)',
            PURPOSE,
            f'18: the property scroe of "{TRIAL}" is not in the tracking plan',
        ),
        (f'sum("{TRIAL}".flag) > 1', PURPOSE, "0: flag is a truth value, not a number"),
        (f'max("{TRIAL}".nothing) > 1', PURPOSE, f'0: the property nothing of "{TRIAL}" is not in the tracking plan'),
        ("trait.vip > true", PURPOSE, "0: a truth value has no order"),
        ('trait.country > "DE"', PURPOSE, "0: a string has no order"),
        ("trait.age = true", PURPOSE, "12: this compares a number with a truth value"),
        ("trait.createdAt = 3", PURPOSE, "18: this compares an instant with a number"),
        ('trait.age contains "x"', PURPOSE, "0: this is a number, not a string"),
        ("trait.age within 3 days", PURPOSE, "0: this is a number, not an instant"),
        ("trait.country between 1 and 3", PURPOSE, "22: this compares a string with a number"),
        ('trait.country in ("DE", "Germany")', PURPOSE, '24: the vocabulary country has no "Germany"'),
        (f'did("{TRIAL}" where channel = "radio")', PURPOSE, '28: the vocabulary channel has no "radio"'),
        (f'did("{TRIAL}", within 91 days)', PURPOSE, f'20: the window is longer than "{TRIAL}" is kept'),
        (f'sequence("{ORDER}", "{TRIAL}" within 91 days)', PURPOSE, f'43: the window is longer than "{TRIAL}" is kept'),
        (
            f'did("{TRIAL}", between 2026-01-01 and 2026-05-01)',
            PURPOSE,
            f'13: the window is longer than "{TRIAL}" is kept',
        ),
        (
            f'did("{TRIAL}", between 2026-01-01 and 2026-02-01)',
            PURPOSE,
            f'13: "{TRIAL}" is kept for 90 days, so events of',
        ),
        ('in segment "nowhere"', PURPOSE, '0: there is no segment "nowhere"'),
        ("trait.age > 1", "pleasure", "0: the purpose pleasure does not exist"),
    ],
)
def test_a_refusal_names_the_rule(text: str, purpose: str, refusal: str) -> None:
    found = refusals(text, purpose)
    assert found
    assert found[0].startswith(refusal)
    assert found[0].partition(" | ")[2], "no hint"


def test_hints_name_the_rule_or_the_remedy() -> None:
    assert (
        refusals("trait.age > 1", "advertising")[0]
        .partition(" | ")[2]
        .startswith("rule: purposes.advertising.categories")
    )
    assert refusals(f'did("{TRIAL}", within 91 days)')[0].endswith(
        "rule: classes.system.keep_for_days in policies/retention.yaml is 90"
    )
    assert refusals('did("order completed")')[0].endswith(f"did you mean {ORDER}?")


def test_everything_wrong_is_said_at_once_in_order_of_the_text() -> None:
    found = refusals('trait.contry = "DE" and did("Order Complete") or trait.vip > true')
    assert [each.partition(":")[0] for each in found] == ["0", "28", "49"]


def test_a_range_of_dates_ages_without_breaking_the_segment() -> None:
    text = f'did("{TRIAL}", between 2026-01-01 and 2026-02-01)'
    assert refusals(text, now=None) == []


def test_circles_are_refused_also_through_others() -> None:
    assert refusals('in segment "both"', key="both") == ["0: a segment cannot contain itself | leave it out"]
    assert refusals('in segment "both"', key="buyers") == [
        '0: "both" itself asks for "buyers": a circle | define one of them without the other'
    ]
    assert refusals('in segment "both"', key="somebody_else") == []


def test_another_segment_must_still_fit_the_policy() -> None:
    found = Catalogue(
        policy(),
        {
            "old": Definition(PURPOSE, meaning('did("Gone")')),
            "older": Definition(PURPOSE, meaning('in segment "old"')),
            "dangling": Definition(PURPOSE, meaning('in segment "dropped"')),
            "orphan": Definition("pleasure", meaning("trait.age > 1")),
            "left": Definition(PURPOSE, meaning('in segment "right"')),
            "right": Definition(PURPOSE, meaning('in segment "left"')),
        },
    )

    def said(key: str) -> list[str]:
        return [f"{each.message} | {each.hint}" for each in check(meaning(f'in segment "{key}"'), found, PURPOSE)]

    outdated = 'the segment "old" does not fit the policy any more | the event "Gone" is not in policies/events.yaml'
    assert said("old") == [outdated]
    assert said("older") == [outdated]
    assert said("dangling") == ['the segment "dropped" cannot be asked any more | define it anew']
    assert said("orphan") == ['the segment "orphan" cannot be asked any more | define it anew']
    assert check(meaning('in segment "right"'), found, PURPOSE, key="left")
    assert said("right") == ['"right" itself asks for "right": a circle | define one of them without the other']


def test_segments_of_segments_have_an_end() -> None:
    chain = {f"s{at}": Definition(PURPOSE, meaning(f'in segment "s{at + 1}"')) for at in range(40)}
    chain["s40"] = Definition(PURPOSE, meaning("trait.age > 1"))
    found = Catalogue(policy(), chain)
    assert [each.message for each in check(meaning('in segment "s0"'), found, PURPOSE)] == [
        '"s0" asks for too many segments'
    ]
    assert check(meaning('in segment "s20"'), found, PURPOSE) == ()


def test_a_condition_has_an_end() -> None:
    part = " or ".join("trait.age = 1" for _ in range(199))
    text = " and ".join(f"({part})" for _ in range(2))
    assert MAX_NODES == 1000
    assert refusals(text) == ["0: the condition is too long | at most 1000 parts"]


def test_context_fields_can_be_asked_like_properties() -> None:
    assert refusals(f'did("{ORDER}" where context.campaign.name = "spring-sale")') == []
    assert refusals(f'did("{ORDER}" where context.ip = "x")')[0].startswith(
        f'28: the property context.ip of "{ORDER}" is not stored and cannot be named'
    )


def test_the_rules_are_those_of_the_policy_in_force() -> None:
    stricter = changed(
        policy(), "events.yaml", traits={"logins": {"type": "number", "keep": "sealed", "category": "user.account"}}
    )
    condition = meaning("trait.logins > 1")
    assert check(condition, CATALOGUE, PURPOSE) == ()
    found = check(condition, Catalogue(stricter), PURPOSE)
    assert [each.message for each in found] == ["the trait logins is sealed and cannot be named in a segment"]


def test_the_fields_and_their_categories() -> None:
    condition = meaning(
        f'trait.age > 1 and sum("{ORDER}".revenue where category = "shoes") > 1 and exists computed.trials'
    )
    assert fields_of(condition, CATALOGUE) == (
        FieldUse(f'"{ORDER}"', "user.behavior.purchase_history"),
        FieldUse(f'"{ORDER}".category', "user.behavior.purchase_history"),
        FieldUse(f'"{ORDER}".revenue', "user.behavior.purchase_history"),
        FieldUse("computed.trials", "user.behavior.purchase_history"),
        FieldUse("trait.age", "user.demographic"),
    )


def test_the_purposes_are_its_own_and_those_of_the_segments_it_asks_for() -> None:
    assert purposes_of(meaning("trait.age > 1"), PURPOSE, CATALOGUE) == (PURPOSE,)
    assert purposes_of(meaning('in segment "both"'), PURPOSE, CATALOGUE) == (OTHER, PURPOSE)


def test_an_answer_says_each_part() -> None:
    condition = meaning('trait.age > 1 and trait.vip = true and not did("page")')
    found = standing(condition, (True, None, False))
    assert (found.is_permitted, found.is_in) == (True, False)
    assert [(each.condition, each.truth) for each in found.answers] == [
        ("trait.age > 1", True),
        ("trait.vip = true", None),
        ('not did("page")', False),
    ]
    assert standing(condition, (True, True, True)).is_in
    assert not standing(condition, (True, None, True)).is_in
    assert standing(condition, None).answers == ()


def test_understand_gives_the_meaning_when_nothing_is_wrong() -> None:
    assert understand("trait.age > 1", CATALOGUE, PURPOSE) == meaning("trait.age > 1")
    found = understand("trait.age >", CATALOGUE, PURPOSE)
    assert isinstance(found, tuple)
    assert isinstance(found[0], Rejection)


def test_shipped_segments_are_understood() -> None:
    definitions = policy().segments
    assert set(definitions) >= {"lapsing_high_value", "new_buyers", "loyal_buyers", "abandoned_carts"}
    assert definitions["lapsing_high_value"].purpose == "email_marketing"
    found = Catalogue(policy())
    for key, each in definitions.items():
        condition = understand(each.where, found, each.purpose, key=key, now=NOW)
        assert not isinstance(condition, tuple), (key, condition)
        found = Catalogue(policy(), {**found.segments, key: Definition(each.purpose, condition)})
