"""What a text must not contain: each rejection names the rule and the remedy."""

from datetime import UTC, datetime

import pytest

from cdp.query.language.catalogue import Catalogue, Definition
from cdp.query.language.check import MAX_NODES, check, parse_and_check
from cdp.query.language.explain import FieldUse, explain_membership, fields_of, purposes_of
from cdp.query.language.rejection import Rejection
from tests.support.policies import changed, combining, shipped
from tests.support.segment_histories import ORDER, OTHER, PURPOSE, TRIAL, catalogue, condition_of, policy

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CATALOGUE = catalogue()


def rejections_of(text: str, purpose: str = PURPOSE, key: str | None = None, now: datetime | None = NOW) -> list[str]:
    found = parse_and_check(text, CATALOGUE, purpose, key=key, now=now)
    return (
        [f"{rejection.position}: {rejection.message} | {rejection.hint}" for rejection in found]
        if isinstance(found, tuple)
        else []
    )


@pytest.mark.parametrize(
    ("text", "purpose", "rejection"),
    [
        (
            "trait.age > 1",
            "advertising",
            "0: the trait age has the category user.demographic, which the purpose advertising does not allow",
        ),
        ("computed.nothing > 1", PURPOSE, "0: the computed trait nothing is not defined in policies/traits.yaml"),
        (
            "computed.page_views_count > 1",
            PURPOSE,
            "0: the computed trait page_views_count belongs to the purpose analytics",
        ),
        ('did("page")', "service", '4: the purpose service does not cover "page"'),
        (
            'did("Email Opened")',
            "advertising",
            '4: the event "Email Opened" has the category user.behavior.engagement, which',
        ),
        (f'did("{TRIAL}" where secret = "x")', PURPOSE, f'18: the property secret of "{TRIAL}" is sealed'),
        (
            f'did("{TRIAL}" where scroe > 1)',
            PURPOSE,
            f'18: the property scroe of "{TRIAL}" is not in the tracking plan',
        ),
        (f'sum("{TRIAL}".flag) > 1', PURPOSE, "0: flag is a boolean, not a number"),
        (f'max("{TRIAL}".nothing) > 1', PURPOSE, f'0: the property nothing of "{TRIAL}" is not in the tracking plan'),
        ('sum("Order Completed".revenue in eur) > 1', PURPOSE, "33: expected a currency such as EUR, found `eur`"),
        (f'max("{TRIAL}".score in EUR) > 1', PURPOSE, f'0: score of "{TRIAL}" is not an amount of money'),
        (
            f'net("{TRIAL}".score) > 1',
            PURPOSE,
            f'0: no event takes back amounts of "{TRIAL}" | use sum, or add `takes_back`',
        ),
        ('net("Order Completed".category) > 1', PURPOSE, "0: category is a string, not a number"),
        (
            'net("Order Completed".revenue, half_life 3 days) > 1',
            PURPOSE,
            "31: half_life applies to count and sum only",
        ),
        (
            "trait.age + 3 > 1",
            PURPOSE,
            "10: + is not part of the language | values are compared with numbers, not computed with",
        ),
        ("trait.vip > true", PURPOSE, "0: a boolean has no order"),
        ('trait.country > "DE"', PURPOSE, "0: a string has no order"),
        ("trait.age = true", PURPOSE, "12: this compares a number with a boolean"),
        ("trait.createdAt = 3", PURPOSE, "18: this compares an instant with a number"),
        ('trait.age contains "x"', PURPOSE, "0: this is a number, not a string"),
        ("trait.age within 3 days", PURPOSE, "0: this is a number, not an instant"),
        ("trait.country between 1 and 3", PURPOSE, "22: this compares a string with a number"),
        ('trait.country in ("DE", "Germany")', PURPOSE, '24: the vocabulary country does not contain "Germany"'),
        (f'did("{TRIAL}" where channel = "radio")', PURPOSE, '28: the vocabulary channel does not contain "radio"'),
        (f'did("{TRIAL}", within 91 days)', PURPOSE, f'20: the window is longer than "{TRIAL}" is retained'),
        (
            f'sequence("{ORDER}", "{TRIAL}" within 91 days)',
            PURPOSE,
            f'43: the window is longer than "{TRIAL}" is retained',
        ),
        (
            f'did("{TRIAL}", between 2026-01-01 and 2026-05-01)',
            PURPOSE,
            f'13: the window is longer than "{TRIAL}" is retained',
        ),
        (
            f'did("{TRIAL}", between 2026-01-01 and 2026-02-01)',
            PURPOSE,
            f'13: "{TRIAL}" is retained for 90 days, so events of',
        ),
        ('in segment "nowhere"', PURPOSE, '0: there is no segment "nowhere"'),
        ("trait.age > 1", "pleasure", "0: the purpose pleasure does not exist"),
    ],
)
def test_a_rejection_names_the_rule(text: str, purpose: str, rejection: str) -> None:
    found = rejections_of(text, purpose)
    assert found
    assert found[0].startswith(rejection)
    assert found[0].partition(" | ")[2], "no hint"


def test_hints_name_the_rule_or_the_remedy() -> None:
    assert (
        rejections_of("trait.age > 1", "advertising")[0]
        .partition(" | ")[2]
        .startswith("rule: purposes.advertising.categories")
    )
    assert rejections_of(f'did("{TRIAL}", within 91 days)')[0].endswith(
        "rule: classes.system.keep_for_days in policies/retention.yaml is 90"
    )
    assert rejections_of('did("order completed")')[0].endswith(f"did you mean {ORDER}?")


def test_all_faults_are_reported_in_the_order_of_the_text() -> None:
    found = rejections_of('trait.contry = "DE" and did("Order Complete") or trait.vip > true')
    assert [text.partition(":")[0] for text in found] == ["0", "28", "49"]


def test_a_range_of_dates_ages_without_breaking_the_segment() -> None:
    text = f'did("{TRIAL}", between 2026-01-01 and 2026-02-01)'
    assert rejections_of(text, now=None) == []


def test_circular_definitions_are_rejected_also_through_others() -> None:
    assert rejections_of('in segment "both"', key="both") == [
        "0: a segment cannot contain itself | delete the reference to itself"
    ]
    assert rejections_of('in segment "both"', key="buyers") == [
        '0: "both" itself refers to "buyers", so the definition is circular | define one of them without the other'
    ]
    assert rejections_of('in segment "both"', key="somebody_else") == []


def test_another_segment_must_still_comply_with_the_policy() -> None:
    found = Catalogue(
        policy(),
        {
            "old": Definition(PURPOSE, condition_of('did("Gone")')),
            "older": Definition(PURPOSE, condition_of('in segment "old"')),
            "dangling": Definition(PURPOSE, condition_of('in segment "dropped"')),
            "orphan": Definition("pleasure", condition_of("trait.age > 1")),
            "left": Definition(PURPOSE, condition_of('in segment "right"')),
            "right": Definition(PURPOSE, condition_of('in segment "left"')),
        },
    )

    def rejections(key: str) -> list[str]:
        return [
            f"{rejection.message} | {rejection.hint}"
            for rejection in check(condition_of(f'in segment "{key}"'), found, PURPOSE)
        ]

    outdated = (
        'the segment "old" no longer complies with the policy | the event "Gone" is not defined in policies/events.yaml'
    )
    assert rejections("old") == [outdated]
    assert rejections("older") == [outdated]
    assert rejections("dangling") == ['the segment "dropped" can no longer be evaluated | define it again']
    assert rejections("orphan") == ['the segment "orphan" can no longer be evaluated | define it again']
    assert check(condition_of('in segment "right"'), found, PURPOSE, key="left")
    assert rejections("right") == [
        '"right" itself refers to "right", so the definition is circular | define one of them without the other'
    ]


def test_nested_segments_are_limited() -> None:
    chain = {f"s{at}": Definition(PURPOSE, condition_of(f'in segment "s{at + 1}"')) for at in range(40)}
    chain["s40"] = Definition(PURPOSE, condition_of("trait.age > 1"))
    found = Catalogue(policy(), chain)
    assert [rejection.message for rejection in check(condition_of('in segment "s0"'), found, PURPOSE)] == [
        '"s0" refers to too many segments'
    ]
    assert check(condition_of('in segment "s20"'), found, PURPOSE) == ()


def test_the_length_of_a_condition_is_limited() -> None:
    part = " or ".join("trait.age = 1" for _ in range(199))
    text = " and ".join(f"({part})" for _ in range(2))
    assert MAX_NODES == 1000
    assert rejections_of(text) == ["0: the condition is too long | at most 1000 parts"]


def test_context_fields_can_be_used_like_properties() -> None:
    assert rejections_of(f'did("{ORDER}" where context.campaign.name = "spring-sale")') == []
    assert rejections_of(f'did("{ORDER}" where context.ip = "x")')[0].startswith(
        f'28: the property context.ip of "{ORDER}" is not stored and cannot be used'
    )


def test_the_rules_are_those_of_the_policy_in_force() -> None:
    stricter = changed(
        policy(), "events.yaml", traits={"logins": {"type": "number", "keep": "sealed", "category": "user.account"}}
    )
    condition = condition_of("trait.logins > 1")
    assert check(condition, CATALOGUE, PURPOSE) == ()
    found = check(condition, Catalogue(stricter), PURPOSE)
    assert [rejection.message for rejection in found] == ["the trait logins is sealed and cannot be used in a segment"]


def test_the_fields_and_their_categories() -> None:
    condition = condition_of(
        f'trait.age > 1 and sum("{ORDER}".revenue where category = "shoes") > 1 and exists computed.trials'
    )
    assert fields_of(condition, CATALOGUE) == (
        FieldUse(f'"{ORDER}"', "user.behavior.purchase_history"),
        FieldUse(f'"{ORDER}".category', "user.behavior.purchase_history"),
        FieldUse(f'"{ORDER}".revenue', "user.behavior.purchase_history"),
        FieldUse("computed.trials", "user.behavior.purchase_history"),
        FieldUse("trait.age", "user.demographic"),
    )


def test_the_purposes_are_its_own_and_those_of_the_segments_it_refers_to() -> None:
    assert purposes_of(condition_of("trait.age > 1"), PURPOSE, CATALOGUE) == (PURPOSE,)
    assert purposes_of(condition_of('in segment "both"'), PURPOSE, CATALOGUE) == (OTHER, PURPOSE)


def test_an_explanation_contains_each_part() -> None:
    condition = condition_of('trait.age > 1 and trait.vip = true and not did("page")')
    found = explain_membership(condition, (True, None, False))
    assert (found.is_permitted, found.is_in) == (True, False)
    assert [(answer.condition, answer.truth) for answer in found.answers] == [
        ("trait.age > 1", True),
        ("trait.vip = true", None),
        ('not did("page")', False),
    ]
    assert explain_membership(condition, (True, True, True)).is_in
    assert not explain_membership(condition, (True, None, True)).is_in
    assert explain_membership(condition, None).answers == ()


def test_parse_and_check_returns_the_condition_when_nothing_is_wrong() -> None:
    assert parse_and_check("trait.age > 1", CATALOGUE, PURPOSE) == condition_of("trait.age > 1")
    found = parse_and_check("trait.age >", CATALOGUE, PURPOSE)
    assert isinstance(found, tuple)
    assert isinstance(found[0], Rejection)


def test_shipped_segments_are_valid() -> None:
    definitions = policy().segments
    assert set(definitions) >= {"lapsing_high_value", "new_buyers", "loyal_buyers", "abandoned_carts"}
    assert definitions["lapsing_high_value"].purpose == "email_marketing"
    found = Catalogue(policy())
    for key, definition in definitions.items():
        condition = parse_and_check(definition.where, found, definition.purpose, key=key, now=NOW)
        assert not isinstance(condition, tuple), (key, condition)
        found = Catalogue(policy(), {**found.segments, key: Definition(definition.purpose, condition)})


MIXED = {
    "seen": Definition(OTHER, condition_of(f'did("{ORDER}")')),
    "seen_by_mail": Definition(PURPOSE, condition_of('in segment "seen"')),
    "shown": Definition("personalization", condition_of('in segment "seen"')),
}


@pytest.mark.parametrize(
    ("combined", "where", "allowed"),
    [
        ({}, 'in segment "seen"', False),
        ({PURPOSE: (OTHER,)}, 'in segment "seen"', True),
        ({OTHER: (PURPOSE,)}, 'in segment "seen"', False),
        ({PURPOSE: ("personalization",)}, 'in segment "seen"', False),
        ({PURPOSE: (OTHER,)}, 'not in segment "seen" or sample 10% by "x"', True),
        ({}, 'not in segment "seen" or sample 10% by "x"', False),
        # what another segment refers to counts for the segment that refers to it
        ({PURPOSE: ("personalization",), "personalization": (OTHER,)}, 'in segment "shown"', False),
        ({PURPOSE: ("personalization", OTHER), "personalization": (OTHER,)}, 'in segment "shown"', True),
        ({PURPOSE: ("personalization", OTHER)}, 'in segment "shown"', False),
        ({PURPOSE: (OTHER,)}, 'in segment "seen_by_mail"', True),
    ],
)
def test_a_segment_refers_to_purposes_that_its_own_names(
    combined: dict[str, tuple[str, ...]], where: str, *, allowed: bool
) -> None:
    given = shipped()
    for purpose, others in combined.items():
        given = combining(given, purpose, *others)
    found = check(condition_of(where), Catalogue(given, MIXED), PURPOSE)
    assert (found == ()) is allowed, found


def test_a_reference_to_another_purpose_says_what_would_allow_it() -> None:
    (found,) = check(condition_of('in segment "seen"'), Catalogue(shipped(), MIXED), PURPOSE)
    assert found.message == f'"seen" is of the purpose {OTHER}, with which {PURPOSE} does not combine'
    assert (
        found.hint
        == f"refer to a segment of {PURPOSE}, or name {OTHER} in `combines_with` of {PURPOSE} in purposes.yaml"
    )
