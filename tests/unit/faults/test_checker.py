"""The checker of fault histories finds every kind of loss and double that is forged into a right history."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cdp.audit.merkle import leaf_hash, root_of
from tests.support.faults.checker import MEMBERS_PURPOSE, StoreState, check, roots_at
from tests.support.faults.history import Act, History, Kind, Outcome

OK, UNKNOWN, REFUSED = Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, Outcome.REFUSED
LEAVES = [b"leaf %d" % number for number in range(5)]


def root(size: int) -> str:
    return root_of([leaf_hash(leaf) for leaf in LEAVES[:size]]).hex()


ACTS = [
    Act(1, 1, Kind.SEND, "s1", OK, source="shop", messages=("m1", "m2"), status=200),
    Act(2, 1, Kind.SEND, "s1", UNKNOWN, source="shop", messages=("m3", "m4"), status=503),
    Act(3, 1, Kind.SEND, "s2", REFUSED, source="shop", messages=("m5",)),
    Act(4, 1, Kind.CONSENT, "c1", OK, purpose=MEMBERS_PURPOSE, choice=True, record="r1", status=201),
    Act(5, 1, Kind.SEND, "c1", OK, source="till", messages=("o1",), is_order=True, status=200),
    Act(6, 1, Kind.CONSENT, "c2", OK, purpose=MEMBERS_PURPOSE, choice=True, record="r2", status=201),
    Act(
        7, 1, Kind.SIGNAL, "c2", OK, source="till", messages=("w1",), purpose=MEMBERS_PURPOSE, choice=False, status=200
    ),
    Act(8, 1, Kind.VERDICT, "c2", OK, purpose=MEMBERS_PURPOSE, choice=False, status=200),
    Act(9, 1, Kind.SEND, "e1", OK, source="old", messages=("x1",), status=200),
    Act(10, 1, Kind.ERASE, "e1", OK, record="q1", status=200),
    Act(11, 1, Kind.SEND, "e1", OK, source="old", messages=("x2",), status=200),
    Act(12, 1, Kind.IMPORT, "i1", OK, source="imports", messages=("i1", "i2")),
    Act(13, 1, Kind.HEAD, "", OK, head=(3, root(3)), status=200),
]
STATE = StoreState(
    messages={"m1": 1, "m2": 1, "m3": 1, "m4": 1, "o1": 1, "w1": 1, "i1": 1, "i2": 1},
    events={"shop": 4, "till": 2, "imports": 2},
    accounted={
        "shop": {"stored": 4},
        "till": {"stored": 2},
        "old": {"stored": 1, "suppressed": 1},
        "imports": {"stored": 2},
    },
    records={"r1": 1, "r2": 1},
    record_counts={("c1", MEMBERS_PURPOSE): 1, ("c2", MEMBERS_PURPOSE): 1},
    verdicts={("c1", MEMBERS_PURPOSE): True, ("c2", MEMBERS_PURPOSE): False},
    members=frozenset({"c1"}),
    fulfilled={"q1": 1},
    replayed=frozenset({"q1"}),
    receipts=frozenset({"q1"}),
    leaves=LEAVES,
)


def test_a_right_history_passes() -> None:
    assert check(ACTS, STATE) == []


def test_unknown_acts_may_have_happened_or_not() -> None:
    for lost in ({"m3", "m4"}, {"m4"}):
        kept = {name: 1 for name in STATE.messages if name not in lost}
        stored = 4 - len(lost)
        accounted = {**STATE.accounted, "shop": {"stored": stored}}
        events = {**STATE.events, "shop": stored}
        assert check(ACTS, replace(STATE, messages=kept, events=events, accounted=accounted)) == []
    withdrawn = Act(20, 1, Kind.CONSENT, "c1", UNKNOWN, purpose=MEMBERS_PURPOSE, choice=False)
    for is_permitted in (True, False):
        verdicts = {**STATE.verdicts, ("c1", MEMBERS_PURPOSE): is_permitted}
        members = frozenset({"c1"}) if is_permitted else frozenset[str]()
        assert check([*ACTS, withdrawn], replace(STATE, verdicts=verdicts, members=members)) == []


Forge = Callable[[StoreState], StoreState]
FORGED_STATES: dict[str, tuple[Forge, str]] = {
    "a lost message": (lambda s: replace(s, messages=without(s, "m1"), events={**s.events, "shop": 3}), "are lost"),
    "a lost row of an import": (
        lambda s: replace(s, messages=without(s, "i2"), events={**s.events, "imports": 1}),
        "are lost",
    ),
    "a message stored twice": (lambda s: replace(s, messages={**s.messages, "m2": 2}), "m2 is stored 2 times"),
    "a message of nobody": (lambda s: replace(s, messages={**s.messages, "z": 1}), "was never sent"),
    "a refused request that is stored": (lambda s: replace(s, messages={**s.messages, "m5": 1}), "was never sent"),
    "a message counted in no state": (lambda s: counted(s, "old", stored=1), "1 messages accounted for"),
    "a message counted in two states": (
        lambda s: counted(s, "till", stored=2, duplicate=1),
        "3 messages accounted for",
    ),
    "a valid message counted as invalid": (lambda s: counted(s, "shop", stored=3, invalid=1), "counted as invalid"),
    "events that were not counted": (lambda s: counted(s, "shop", stored=3, duplicate=1), "counted as stored, and 4"),
    "events of unknown origin": (lambda s: replace(s, events={**s.events, "till": 3}), "3 events, of which 2"),
    "an event without a profile": (lambda s: replace(s, homeless=1), "belong to no profile"),
    "a lost consent record": (lambda s: replace(s, records={"r2": 1}), "record r1 of c1 is stored 0 times"),
    "a consent recorded twice": (
        lambda s: replace(s, record_counts={**s.record_counts, ("c1", MEMBERS_PURPOSE): 2}),
        "c1 has 2 records",
    ),
    "a lost grant": (
        lambda s: replace(s, verdicts={**s.verdicts, ("c1", MEMBERS_PURPOSE): False}, members=frozenset()),
        "of c1 is refused",
    ),
    "a resurrected consent": (
        lambda s: replace(s, verdicts={**s.verdicts, ("c2", MEMBERS_PURPOSE): True}),
        "of c2 is permitted",
    ),
    "a member who refused": (lambda s: replace(s, members=frozenset({"c1", "c2"})), "c2 refuses"),
    "a missing member": (lambda s: replace(s, members=frozenset()), "c1 permits"),
    "an event of an erased person": (
        lambda s: replace(s, messages={**s.messages, "x1": 1}, events={**s.events, "old": 1}),
        "e1 was erased by act 10 and has 1 events",
    ),
    "a message stored after the erasure": (
        lambda s: replace(s, messages={**s.messages, "x2": 1}, events={**s.events, "old": 1}),
        "e1 was erased by act 10 and has 1 events",
    ),
    "an erased person who is found": (lambda s: replace(s, found=frozenset({"e1"})), "and is found"),
    "an erasure missing from the log": (lambda s: replace(s, fulfilled={}), "fulfilled 0 times"),
    "an erasure twice in the log": (lambda s: replace(s, fulfilled={"q1": 2}), "fulfilled 2 times"),
    "an erasure missing from the replay file": (lambda s: replace(s, replayed=frozenset()), "missing from the replay"),
    "an erasure without a receipt": (lambda s: replace(s, receipts=frozenset()), "no valid receipt"),
    "a log that lost leaves": (lambda s: replace(s, leaves=LEAVES[:2]), "there are 2"),
    "a log that was rewritten": (lambda s: replace(s, leaves=[b"another", *LEAVES[1:]]), "is not the root"),
    "a finding of the log's own check": (lambda s: replace(s, log_findings=["tiles"]), "the log: tiles"),
    "a membership that differs": (lambda s: replace(s, differing={"buyers": 1}), "1 memberships differ"),
}


def without(state: StoreState, name: str) -> dict[str, int]:
    return {kept: count for kept, count in state.messages.items() if kept != name}


def counted(state: StoreState, source: str, **states: int) -> StoreState:
    return replace(state, accounted={**state.accounted, source: states})


@pytest.mark.parametrize("name", FORGED_STATES)
def test_a_forged_state_is_found(name: str) -> None:
    forge, finding = FORGED_STATES[name]
    wrong = check(ACTS, forge(STATE))
    assert any(finding in sentence for sentence in wrong), wrong


def test_a_verdict_that_was_read_must_have_been_possible() -> None:
    read = Act(20, 1, Kind.VERDICT, "c2", OK, purpose=MEMBERS_PURPOSE, choice=True, status=200)
    assert any("act 20" in sentence for sentence in check([*ACTS, read], STATE))


def test_what_was_read_after_an_unknown_act_counts_from_then_on() -> None:
    unknown = Act(20, 1, Kind.CONSENT, "c2", UNKNOWN, purpose=MEMBERS_PURPOSE, choice=True)
    reads = [
        Act(number, 1, Kind.VERDICT, "c2", OK, purpose=MEMBERS_PURPOSE, choice=is_permitted, status=200)
        for number, is_permitted in ((21, False), (22, True))
    ]
    assert any("act 22" in sentence for sentence in check([*ACTS, unknown, *reads], STATE))


def test_a_grant_need_not_count_while_the_clock_is_behind_and_a_refusal_must() -> None:
    for subject, is_permitted, is_wrong in (("c1", False, False), ("c2", True, True)):
        read = Act(20, 1, Kind.VERDICT, subject, OK, purpose=MEMBERS_PURPOSE, choice=is_permitted, lags=True)
        assert bool(check([*ACTS, read], STATE)) is is_wrong


def test_an_answer_that_no_fault_excuses_is_found() -> None:
    failed = Act(20, 1, Kind.MEMBERS, "", UNKNOWN, status=500)
    assert any("was answered 500" in sentence for sentence in check([*ACTS, failed], STATE))


def test_the_order_of_recording_does_not_matter() -> None:
    assert check(reversed(ACTS), STATE) == []


@pytest.mark.parametrize("size", range(6))
def test_roots_are_those_of_the_log(size: int) -> None:
    assert roots_at(LEAVES, [size])[size] == root(size)


def test_a_history_is_read_as_it_was_written(tmp_path: Path) -> None:
    history = History(7, list(ACTS), [(1, "kill the service")])
    history.write(tmp_path / "failed" / "history.jsonl")
    assert History.load(tmp_path / "failed" / "history.jsonl") == history
