"""Every mutation, the cells of basis and stage that cannot exist, the stages that do not exist yet, and what else asks for verdicts."""

from typing import Final, NamedTuple

from tests.support.every_basis import Basis
from tests.support.mutations.deciding import DECIDING
from tests.support.mutations.model import Mutation, Stage
from tests.support.mutations.reading import READING
from tests.support.mutations.storing import STORING

MUTATIONS: Final[tuple[Mutation, ...]] = (*DECIDING, *STORING, *READING)

SAMPLE: Final = ("verdict.refusals", "door.verdict", "in_force.refusal", "lists.permitted", "sql.further_roles")
"""What the usual suite removes; `make test-mutations` removes everything."""

WITHOUT_CHECK: Final[dict[tuple[Stage, Basis], str]] = {}
"""Cells in which there is nothing to check, each with the reason. At present every basis is checked in every stage."""


class FutureStage(NamedTuple):
    """A stage of the design that does not exist: once one of its paths exists, it needs a `Stage` and mutations."""

    name: str
    paths: tuple[str, ...]


NOT_YET: Final = (
    FutureStage("deliveries to destinations", ("cdp/destinations/deliver*", "cdp/destinations/providers", "cdp/flows/destinations")),
    FutureStage("journeys", ("cdp/journeys", "cdp/flows/journeys")),
    FutureStage("features", ("cdp/behavior/features*", "cdp/behavior/store/features*", "cdp/behavior/feature.py")),
    FutureStage("analysis", ("cdp/analysis", "cdp/flows/analysis")),
    FutureStage("the copy for other engines", ("cdp/query/columnar", "cdp/query/spark")),
)  # fmt: skip

ASKING: Final = {
    "cdp/behavior/store/consistency.py": "compares computed traits with their events; the comparison is tested with both",
    "cdp/cli/consent_trial.py": "shows verdicts",
    "cdp/cli/consents.py": "shows verdicts",
    "cdp/cli/profiles.py": "shows verdicts",
    "cdp/cli/segments.py": "shows why a person is in a segment or not",
    "cdp/cli/unmerge_view.py": "shows verdicts",
    "cdp/consent/signals/gpp/meaning.py": "the choice that a signal states, before it becomes an act",
    "cdp/consent/signals/iab.py": "the choice that a signal states, before it becomes an act",
    "cdp/consent/signals/tcf/permits.py": "the choice that a signal states, before it becomes an act",
    "cdp/consent/store/planned.py": "predicts the effect of a policy; nothing is stored or shown of a person",
    "cdp/consent/store/role_projections.py": "fills a new table from the projection, which has only permitted people",
    "cdp/flows/consent/as_of.py": "answers about verdicts",
    "cdp/flows/identity/link_table/part.py": "writes the verdicts that `judge` decided",
    "cdp/flows/identity/profile_view.py": "shows verdicts to the privacy staff",
    "cdp/flows/ingest/judge.py": "calls `permitted_bits`, which decides",
    "cdp/flows/ingest/load_consent.py": "loads the verdicts in force for `permitted_bits`",
    "cdp/flows/ingest/recognize.py": "calls `permitted_bits`, which decides",
    "cdp/flows/operations/policy_impact.py": "predicts the effect of a policy; nothing is stored or shown of a person",
    "cdp/query/language/explain.py": "explains a membership by what the engine found",
    "cdp/query/postgres/compile.py": "begins with the people of `StatementScope.permitted`",
    "cdp/query/postgres/due.py": "begins with the people of `StatementScope.permitted`; gives instants at which to evaluate again",
    "cdp/query/postgres/excluded.py": "counts refused people",
    "cdp/rights/page.py": "shows the person their own export",
    "cdp/segments/store/due.py": "keeps instants at which to evaluate again; the evaluation checks",
    "cdp/segments/store/impact.py": "predicts the effect of a policy; nothing is stored or shown of a person",
    "cdp/web/api/schemas.py": "shows verdicts",
    "cdp/web/api/segments.py": "shows why a person is in a segment or not",
}
"""Files that ask for verdicts or permissions without being a check of their own, each with the reason."""
