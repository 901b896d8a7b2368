"""Two policies told apart in words."""

from typing import Any

import pytest

from cdp.policy.diff import Change, PolicyDifference, differences
from cdp.policy.load import build_policy
from tests.support.policies import changed, combining, documents_of, permit_all, segment_unify, shipped


def only(file: str, **sections: Any) -> PolicyDifference:
    """The one difference that a change of the shipped policy makes."""
    base = shipped()
    (difference,) = differences(base, changed(base, file, **sections))
    assert difference.file == file
    return difference


def entry(file: str, section: str, key: str, **fields: Any) -> dict[str, Any]:
    """An entry of the shipped policy with some fields changed; None takes one out."""
    documents: Any = shipped().documents
    whole = documents[file][section][key] | fields
    return {section: {key: {name: value for name, value in whole.items() if value is not None}}}


def test_a_policy_does_not_differ_from_itself() -> None:
    assert differences(shipped(), shipped()) == ()


def test_a_default_written_out_is_no_difference() -> None:
    documents = documents_of(shipped())
    documents["purposes.yaml"]["purposes"]["analytics"]["sale_or_sharing"] = False
    other = build_policy(documents)
    assert other.fingerprint != shipped().fingerprint
    assert differences(shipped(), other) == ()


@pytest.mark.parametrize(
    ("file", "section", "key", "fields", "text", "effect"),
    [
        ("retention.yaml", "classes", "browsing", {"keep_for_days": 90},
         "classes › browsing › keep_for_days changes from 395 to 90",
         "events of browsing older than 90 days are deleted by the next sweep"),
        ("retention.yaml", "classes", "browsing", {"keep_for_days": 500},
         "classes › browsing › keep_for_days changes from 395 to 500", ""),
        ("purposes.yaml", "purposes", "analytics", {"validity_days": 30},
         "purposes › analytics › validity_days changes from 395 to 30",
         "grants expire 30 days after they were given, also those that were given before; older ones end at once"),
        ("purposes.yaml", "purposes", "advertising", {"validity_days": None},
         "purposes › advertising › validity_days changes from 395 to nothing",
         "grants from now on are valid longer; earlier ones end as before"),
        ("purposes.yaml", "purposes", "analytics", {"model": {"eu": "opt_in", "us-ca": "opt_in", "unknown": "opt_in"}},
         "purposes › analytics › model › us-ca changes from opt_out to opt_in",
         "people there who never granted consent are no longer permitted"),
        ("purposes.yaml", "purposes", "analytics", {"combines_with": ["advertising"]},
         "purposes › analytics › combines_with › advertising is new",
         "segments of analytics may refer to segments of advertising, of people who are permitted for both; people must be informed"),
        ("purposes.yaml", "purposes", "service", {"events": ["Order Completed", "Order Updated", "Order Refunded"]},
         "purposes › service › events › Order Cancelled ends",
         "whatever the list no longer includes stops counting for the purpose"),
        ("events.yaml", "traits", "vip", {"keep": "sealed"},
         "traits › vip › keep changes from plain to sealed",
         "segments and computed traits that read it no longer compile"),
        ("events.yaml", "traits", "logins", {"keep": "drop"},
         "traits › logins › keep changes from plain to drop",
         "segments and computed traits that read it no longer compile"),
        ("events.yaml", "events", "page", {"retention_class": "system"},
         "events › page › retention_class changes from browsing to system",
         "stored events move to the other class, and expire by its period"),
        ("identifiers.yaml", "types", "email", {"limit": {"count": 3}},
         "types › email › limit › count changes from 5 to 3",
         "existing links stay; `cdp identity simulate` shows how the new rules would have decided"),
        ("traits.yaml", "traits", "monetary_decayed", {"half_life_days": 60},
         "traits › monetary_decayed › half_life_days changes from 30.0 to 60.0",
         "it is recomputed from the events still retained and permitted for its purpose"),
        ("traits.yaml", "traits", "monetary", {"text": "Money"},
         "traits › monetary › text changes from Monetary value, revenue of all orders to Money", ""),
        ("readers.yaml", "roles", "marketer", {"purposes": ["service"]},
         "roles › marketer › purposes › service is new",
         "the role reads people of these purposes as soon as the policy is applied, in SQL, too"),
        ("readers.yaml", "roles", "marketer", {"legal_bases": ["consent"]},
         "roles › marketer › legal_bases › legitimate_interests ends",
         "the role no longer reads people of these purposes, in SQL, too"),
        ("destinations.yaml", "destinations", "newsletter", {"enabled": True},
         "destinations › newsletter › enabled changes from false to true", ""),
    ],
)  # fmt: skip
def test_a_change_reads_well_and_says_what_it_would_do(
    file: str, section: str, key: str, fields: dict[str, Any], text: str, effect: str
) -> None:
    difference = only(file, **entry(file, section, key, **fields))
    assert (difference.text, difference.effect) == (text, effect)


def test_the_end_of_a_combination_says_what_it_ends() -> None:
    (difference,) = differences(combining(shipped(), "analytics", "advertising"), shipped())
    assert difference.text == "purposes › analytics › combines_with › advertising ends"
    assert (
        difference.effect
        == "segments of analytics that refer to segments of advertising are no longer evaluated or listed"
    )


def test_what_is_new_and_what_ends_is_said_whole() -> None:
    trait = {"purpose": "analytics", "kind": "count", "event": "page", "category": "user.behavior"}
    new = only("traits.yaml", traits={"mine": trait})
    assert (new.change, new.text) == (Change.ADDED, "traits › mine is new")
    assert new.effect.startswith("it is computed from the events")
    ended = only("traits.yaml", traits={"product_interest": None})
    assert (ended.change, ended.effect) == (Change.ENDED, "its values are deleted")


def test_a_purpose_that_ends_and_one_that_is_new() -> None:
    base = permit_all()
    fewer = changed(base, "traits.yaml", traits={"product_interest": None})
    fewer = changed(fewer, "purposes.yaml", purposes={"advertising": None})
    texts = {each.text: each.effect for each in differences(base, fewer)}
    assert texts["purposes › advertising ends"].startswith("its projection ends")
    back = {each.text: each.effect for each in differences(fewer, base)}
    assert back["purposes › advertising is new"].startswith("where its model is opt_out, people who never refused")


def test_a_new_purpose_says_who_becomes_eligible() -> None:
    base = permit_all()
    kept = {"name": "New", "text": "New", "categories": ["user.unique_id"], "data_use": "analytics.reporting"}
    consent = {**kept, "legal_basis": "consent", "model": {"eu": "opt_in", "us-ca": "opt_in", "unknown": "opt_in"}}
    interests = {**kept, "legal_basis": "legitimate_interests", "assessment": "LIA-1"}
    for purpose, effect in (
        (consent, "nobody becomes eligible without a grant"),
        (interests, "people become eligible by its legal basis, for events from now on"),
    ):
        (difference,) = differences(base, changed(base, "purposes.yaml", purposes={"fresh": purpose}))
        assert difference.effect == effect


def test_differences_are_in_the_order_of_the_files_and_mirror_each_other() -> None:
    there, back = differences(permit_all(), segment_unify()), differences(segment_unify(), permit_all())
    assert {each.path for each in there} == {each.path for each in back}
    assert {each.file for each in there} == {"identifiers.yaml"}


def test_a_changed_segment_makes_a_new_version() -> None:
    def with_segment(where: str) -> Any:
        documents = documents_of(shipped())
        documents["segments/mine.yaml"] = {"key": "mine", "name": "M", "purpose": "analytics", "where": where}
        return build_policy(documents)

    (difference,) = differences(with_segment("trait.age > 3"), with_segment("trait.age > 4"))
    assert difference.effect.startswith("a new version of the segment is created")
    ended = differences(with_segment("trait.age > 3"), shipped())
    assert ended[0].effect == "it ends, and its members leave it"
