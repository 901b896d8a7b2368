"""Each check of consent has a test that goes red without it, for every basis of a purpose and every stage of a person's data.

The table in `tests/support/mutations` names the checks. These tests hold that it is complete and fits the source, and remove a few
checks; `make test-mutations` removes all of them.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

import pytest

from cdp.policy.model import ConsentModel, LegalBasis
from tests.support.budget import IS_LONG
from tests.support.every_basis import ALL, LEGAL_BASES, Basis
from tests.support.mutations.model import Edit, Mutation, Stage, mutated, removed
from tests.support.mutations.run import is_about, run_mutated, survivals
from tests.support.mutations.table import ASKING, MUTATIONS, NOT_YET, SAMPLE, WITHOUT_CHECK
from tests.support.source_tree import ROOT, Source, read, service, written_tests

ASKS = re.compile(
    r"consent\.permitted\b|consent\.projection\b|permitted_of\(|\bis_permitted\b|permitted_bits\(|scope\.permitted\(|\.allowed\b|\bpermitted\.c\."
)
"""What a file says that asks for a verdict, or reads the permissions in force."""


def asking(sources: tuple[Source, ...]) -> set[str]:
    """The files that ask whether a person is permitted; tables and migrations only describe where it is stored."""
    return {source.path for source in sources if ASKS.search(source.text) and not source.matches("cdp/schema/*")}


@cache
def functions() -> frozenset[str]:
    """Every test as pytest names it, without parameters."""
    return frozenset(
        f"{source.path}::{name}"
        for source in written_tests()
        for name in re.findall(r"^def (test_\w+)", source.text, re.MULTILINE)
    )


def missing_cells(mutations: tuple[Mutation, ...]) -> Iterator[tuple[Stage, Basis]]:
    """The cells of the table without a mutation and without a reason."""
    covered = {(mutation.stage, basis) for mutation in mutations for basis in mutation.bases}
    for cell in product(Stage, Basis):
        if cell not in covered and cell not in WITHOUT_CHECK:
            yield cell


def test_every_basis_of_a_policy_has_a_purpose() -> None:
    assert {legal for legal, _ in LEGAL_BASES.values()} == set(LegalBasis)
    assert {model for _, model in LEGAL_BASES.values() if model is not None} == set(ConsentModel)
    assert set(LEGAL_BASES) == set(ALL) == set(Basis)


def test_every_basis_is_checked_in_every_stage() -> None:
    assert list(missing_cells(MUTATIONS)) == []
    assert len({mutation.key for mutation in MUTATIONS}) == len(MUTATIONS)


def test_a_reason_stands_only_for_a_cell_without_a_check() -> None:
    covered = {(mutation.stage, basis) for mutation in MUTATIONS for basis in mutation.bases}
    assert covered & WITHOUT_CHECK.keys() == set()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.key)
def test_each_check_is_where_the_table_says(mutation: Mutation) -> None:
    changed = mutated((ROOT / mutation.file).read_text(), mutation.edits)
    compile(changed, mutation.file, "exec")
    assert set(mutation.tests) <= functions(), "a test that does not exist"
    assert mutation.bases


def test_whoever_asks_for_a_verdict_is_in_the_table() -> None:
    named = {mutation.file for mutation in MUTATIONS} | ASKING.keys()
    assert asking(service()) - named == set(), "a new check needs a mutation, or a reason in ASKING"
    assert ASKING.keys() - asking(service()) == set(), "these ask for nothing any more"


@pytest.mark.parametrize("stage", NOT_YET, ids=lambda stage: stage.name)
def test_a_stage_that_comes_to_exist_needs_its_checks(stage: tuple[str, tuple[str, ...]]) -> None:
    _, paths = stage
    assert [str(found) for path in paths for found in ROOT.glob(path)] == []


@pytest.mark.slow
@pytest.mark.parametrize("key", [mutation.key for mutation in MUTATIONS] if IS_LONG else SAMPLE)
def test_a_test_goes_red_without_the_check(key: str) -> None:
    (mutation,) = (one for one in MUTATIONS if one.key == key)
    assert run_mutated(mutation) == []


# --- that these tests can fail --------------------------------------------------------------------


def test_a_cell_without_a_mutation_is_found() -> None:
    without = tuple(mutation for mutation in MUTATIONS if mutation.stage is not Stage.LOOKUPS)
    assert set(missing_cells(without)) == {(Stage.LOOKUPS, basis) for basis in Basis}


@pytest.mark.parametrize("text", ["absent", "a"])
def test_a_text_that_does_not_occur_once_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="times instead of once"):
        mutated("a = a\n", (Edit(text, ""),))


@pytest.mark.parametrize(
    "text",
    ["SELECT 1 FROM consent.permitted", "if verdict.allowed:", "permitted_of(tx, ids)", "scope.permitted(purpose)"],
)
def test_a_file_that_asks_is_found(text: str) -> None:
    assert asking((read("cdp/flows/new.py", f'TEXT = """{text}"""'),)) == {"cdp/flows/new.py"}
    assert asking((read("cdp/schema/new.py", f'TEXT = """{text}"""'),)) == set()


PLANTED = Mutation("planted", Stage.DOOR, (Basis.OPT_IN, Basis.CONTRACT), "cdp/x.py", removed("x"), ("t.py::test_it",))


@pytest.mark.parametrize(
    ("ends", "count"),
    [
        ({"t.py::test_it[opt_in]": "call: AssertionError", "t.py::test_it[contract]": "call: Failed"}, 0),
        ({"t.py::test_it[opt_in-x]": "call: AssertionError", "t.py::test_it[x-contract]": "call: AssertionError"}, 0),
        ({"t.py::test_it[opt_in]": "call: AssertionError", "t.py::test_it[contract]": "passed"}, 1),
        ({"t.py::test_it[opt_in]": "call: AssertionError"}, 1),
        ({"t.py::test_it[opt_in]": "call: NameError", "t.py::test_it[contract]": "setup: AssertionError"}, 2),
        ({}, 2),
    ],
    ids=["all red", "more parameters", "one green", "one absent", "other errors", "nothing ran"],
)
def test_what_no_test_notices_is_found(ends: dict[str, str], count: int) -> None:
    assert len(list(survivals(PLANTED, ends))) == count


def test_a_test_without_parameters_is_about_its_basis() -> None:
    assert is_about("t.py::test_it", "t.py::test_it", Basis.OPT_IN)
    assert not is_about("t.py::test_it[opt_out]", "t.py::test_it", Basis.OPT_IN)
    assert not is_about("t.py::test_it_all", "t.py::test_it", Basis.OPT_IN)
