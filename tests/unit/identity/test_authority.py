"""Authority of evidence: a conflict is decided by who said it, not by what arrived first."""

from datetime import timedelta
from random import Random

import pytest

from cdp.identity.model import Evidence, ResolutionStep, Rule
from cdp.identity.rules import Rules
from cdp.identity.run import Run, replay
from tests.support.people import NEW_YEAR
from tests.unit.identity.test_resolve import IDS, TYPES, named, partition, policy

B, I, S = Evidence.BROWSER, Evidence.IMPORT, Evidence.SERVER  # noqa: E741
Word = tuple[Evidence, str]


def play(*words: Word, proved: dict[str, int] | None = None, late: tuple[int, ...] = ()) -> Run:
    """Replay words one day apart; `proved` gives the day after which a person proved to have an identifier.

    The words at the positions `late` happened before everything else.
    """
    steps = [
        ResolutionStep(
            at,
            at,
            tuple(IDS[name] for name in said.split()),
            NEW_YEAR + timedelta(days=at),
            authority,
            NEW_YEAR if at in late else NEW_YEAR + timedelta(days=at),
        )
        for at, (authority, said) in enumerate(words, 1)
    ]
    instants = {IDS[name]: NEW_YEAR + timedelta(days=day) for name, day in (proved or {}).items()}
    types = {number: TYPES[name[0]] for name, number in IDS.items()}
    return replay(Rules(policy()), types, steps, proved=instants)


def rules_of(run: Run) -> set[Rule]:
    return {refusal.rule for proposal in run.accepted for refusal in proposal.refusals}


@pytest.mark.parametrize("words", [((S, "u1 e1"), (B, "u2 e1 a2")), ((B, "u2 e1 a2"), (S, "u1 e1"))])
def test_a_lower_word_takes_no_address_whenever_it_is_said(words: tuple[Word, ...]) -> None:
    run = play(*words)
    assert partition(run) == named("u1 e1", "u2 a2")
    assert not run.shared
    assert rules_of(run) == {Rule.AUTHORITY}


@pytest.mark.parametrize("words", [((S, "u1 e1"), (B, "e1 a2")), ((B, "e1 a2"), (S, "u1 e1"))])
def test_a_device_that_names_somebody_elses_address_stands_apart(words: tuple[Word, ...]) -> None:
    assert partition(play(*words)) == named("u1 e1", "a2")


def test_a_word_that_says_nothing_belongs_to_nobody() -> None:
    run = play((S, "u1 e1"), (B, "e1"))
    assert partition(run) == named("u1 e1", "")
    assert run.world.accepted_placement == {1: 1, 2: 2}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_highest_word_has_the_address(order: tuple[int, ...]) -> None:
    words = ((B, "u1 e1"), (I, "u2 e1"), (S, "u3 e1"))
    assert partition(play(*(words[at] for at in order))) == named("u1", "u2", "u3 e1")


def test_words_of_equal_authority_share_an_address() -> None:
    for level in Evidence.BROWSER, Evidence.IMPORT, Evidence.SERVER:
        run = play((level, "u1 e1"), (level, "u2 e1"))
        assert partition(run) == named("u1", "u2")
        assert run.shared == {IDS["e1"]}


def test_an_address_that_browsers_made_shared_goes_to_whom_a_higher_word_names() -> None:
    run = play((B, "u1 e1"), (B, "u2 e1"), (S, "u3 e1"))
    assert partition(run) == named("u1", "u2", "u3 e1")
    assert not run.shared


def test_a_stale_message_of_equal_authority_takes_nothing() -> None:
    run = play((S, "u1 e1"), (S, "u2 e1"), late=(2,))
    assert partition(run) == named("u1 e1", "u2")
    assert rules_of(run) == {Rule.STALE}


def test_a_device_stays_with_whom_a_server_ties_it_to() -> None:
    run = play((S, "u1 a1"), (B, "u2 a1"), (B, "a1 d1"))
    assert partition(run) == named("u1 a1 d1", "u2")
    assert rules_of(run) == {Rule.AUTHORITY}


def test_a_device_that_a_browser_tied_goes_to_whom_a_server_ties_it_to() -> None:
    run = play((B, "u1 a1"), (S, "u2 a1"), (B, "u1 a1 d1"))
    assert partition(run) == named("u1 d1", "u2 a1")
    assert not run.shared


def test_where_nobody_else_speaks_browsers_link() -> None:
    assert partition(play((B, "a1"), (B, "e1 a1"), (B, "u1 e1"), (S, "u1"))) == named("u1 e1 a1")


def test_an_address_stays_with_the_one_that_proved_it() -> None:
    run = play((B, "u1 e1"), (B, "u2 e1"), proved={"e1": 1})
    assert partition(run) == named("u1 e1", "u2")
    assert rules_of(run) == {Rule.AUTHORITY}


def test_a_proof_after_several_claims_settles_nothing() -> None:
    run = play((B, "u1 e1"), (B, "u2 e1"), (B, "u3 e1"), proved={"e1": 2})
    assert partition(run) == named("u1", "u2", "u3")


def test_a_higher_word_takes_an_address_that_was_proved_by_another() -> None:
    run = play((B, "u1 e1"), (S, "u2 e1"), proved={"e1": 1})
    assert partition(run) == named("u1", "u2 e1")


@pytest.mark.parametrize("seed", range(200))
def test_words_of_strangers_change_nothing_of_a_person(seed: int) -> None:
    """The person, whom servers and their own browser speak of, is the same set with and without the strangers."""
    dice = Random(seed)
    own = [(S, "u1 e1"), (B, "u1 a1"), (S, "e1 e2"), (B, "a1"), (B, "a1 d1"), (I, "u1 e3"), (S, "u1")]
    dice.shuffle(own)
    own = [(S, "u1 e1"), *own] if dice.random() < 0.5 else own
    strangers = [(B, " ".join(dice.sample(["u2", "u3", "e1", "e2", "e3", "e4", "a2", "a3"], 2))) for _ in range(6)]
    ordered = [(B, " ".join(sorted(said.split(), key=_rank))) for _, said in strangers]
    mixed = list(own)
    for word in ordered:
        mixed.insert(dice.randrange(len(mixed) + 1), word)
    alone = next(group for group in partition(play(*own)) if "u1" in group)
    beside = next(group for group in partition(play(*mixed)) if "u1" in group)
    assert beside == alone


def _rank(name: str) -> tuple[int, str]:
    return "ueadh".index(name[0]), name
