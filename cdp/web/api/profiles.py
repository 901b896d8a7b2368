"""Routes of profiles: look up a person, explain or unmerge two identifiers, simulate changed rules."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StrictBool, model_validator
from pydantic_core import PydanticCustomError

from cdp.access.model import Role
from cdp.flows import identifiers
from cdp.flows.identity import explain as explain_flow
from cdp.flows.identity import lookup, names, reader_lookup, unmerge
from cdp.flows.identity import simulate as simulate_flow
from cdp.flows.identity.explain import ExplainedLink, ExplainedRefusal
from cdp.flows.operations.policy import with_rules
from cdp.kit.errors import Fault
from cdp.web.api.schemas import (
    IdentifierInput,
    IdentifierShown,
    Line,
    ProfileShown,
    RequestBody,
    VerdictShown,
    profile_shown,
)
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1", tags=["profiles"])


class LookupInput(RequestBody):
    """Either an identifier (privacy, admin) or a profile id; marketers pass their pseudonym for the profile."""

    identifier: IdentifierInput | None = None
    profile: Line | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "LookupInput":
        if (self.identifier is None) == (self.profile is None):
            raise PydanticCustomError("one_of", "give either `identifier` or `profile`")
        return self


class PairInput(RequestBody):
    """Two identifiers."""

    a: IdentifierInput
    b: IdentifierInput


class UnmergeInput(RequestBody):
    """The identifier to keep, and the one to sever from it; `undo` reverses an earlier unmerge."""

    keep: IdentifierInput
    sever: IdentifierInput
    dry_run: StrictBool = False
    undo: StrictBool = False


class RowShown(BaseModel):
    """A row of a link table: its number, the source, and the import of its file."""

    source: str
    import_: str | None = Field(alias="import")
    row: int


class LinkShown(BaseModel):
    """One link of a path: the message or the row that made it, the rule, and the policy in force then."""

    from_: IdentifierShown = Field(alias="from")
    to: IdentifierShown
    rule: str
    message_id: str | None
    at: datetime
    policy: str
    row: RowShown | None


class RefusalShown(LinkShown):
    """What kept two identifiers apart."""

    detail: str


class ExplanationShown(BaseModel):
    """Whether two identifiers belong to one person, the links between them, or what keeps them apart."""

    same_profile: bool
    path: list[LinkShown]
    refusals: list[RefusalShown]


class UnmergedShown(BaseModel):
    """The profiles before, and each side afterwards; null for an identifier that then has no profile.

    `erased_events` are events whose consent no longer covers them.
    """

    dry_run: bool
    before: list[ProfileShown]
    keep: ProfileShown | None
    sever: ProfileShown | None
    other_profiles: int
    erased_events: int


class SimulateInput(RequestBody):
    """The whole content of a changed `identifiers.yaml`, as JSON."""

    rules: dict[str, Any]


class SimulatedShown(BaseModel):
    """The effect of the rules on the recorded links. `refused` counts, by rule, the identifiers that would be left out of messages."""

    steps: int
    profiles_now: int
    profiles_then: int
    merged: int
    split: int
    quarantined_now: int
    quarantined: int
    shared_now: int
    shared_then: int
    refused: dict[str, int]
    examples: list[dict[str, Any]]


@router.post("/profiles/lookup", responses=problems(404, 429), operation_id="lookup_profile")
def look_up(
    body: LookupInput,
    context: InContext,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.ADMIN, Role.MARKETER))],
) -> ProfileShown:
    """Look up the data held about one person. Marketers look up by pseudonym and see no identifiers."""
    if caller.role is Role.MARKETER:
        if body.profile is None:
            raise Fault(
                "not_permitted",
                "This token may not do that",
                "Marketers look a profile up by its pseudonym: give `profile`.",
                status=403,
            )
        found = reader_lookup.look_up_pseudonym(context, body.profile, actor=caller.actor, token=caller.token)
        return _as_reader(found)
    if body.identifier is not None:
        requested = identifiers.read_identifier(context.policy, *body.identifier.pair())
        return profile_shown(lookup.look_up(context, requested, actor=caller.actor, token=caller.token))
    return profile_shown(lookup.look_up_profile(context, body.profile or "", actor=caller.actor, token=caller.token))


@router.post("/profiles/explain", responses=problems(404), operation_id="explain_profile")
def explain(
    body: PairInput, context: InContext, caller: Annotated[Caller, Depends(allow(Role.PRIVACY))]
) -> ExplanationShown:
    """Explain why two identifiers belong to one person, or why not."""
    result = explain_flow.explain(
        context,
        identifiers.read_identifier(context.policy, *body.a.pair()),
        identifiers.read_identifier(context.policy, *body.b.pair()),
        actor=caller.actor,
        token=caller.token,
    )
    return ExplanationShown(
        same_profile=result.is_same_profile,
        path=[LinkShown.model_validate(_edge(link)) for link in result.path],
        refusals=[
            RefusalShown.model_validate(_edge(refusal) | {"detail": refusal.detail}) for refusal in result.refusals
        ],
    )


@router.post("/profiles/unmerge", responses=problems(404, 409), operation_id="unmerge_profile")
def unmerge_(
    body: UnmergeInput, context: InContext, caller: Annotated[Caller, Depends(allow(Role.PRIVACY))]
) -> UnmergedShown:
    """Separate two identifiers as if they had never been linked; with `dry_run`, only preview the change."""
    use_case = unmerge.remerge if body.undo else unmerge.unmerge
    done = use_case(
        context,
        identifiers.read_identifier(context.policy, *body.keep.pair()),
        identifiers.read_identifier(context.policy, *body.sever.pair()),
        dry_run=body.dry_run,
        actor=caller.actor,
        token=caller.token,
    )
    return UnmergedShown(
        dry_run=done.is_dry_run,
        before=[profile_shown(view) for view in done.before],
        keep=None if done.keep is None else profile_shown(done.keep),
        sever=None if done.sever is None else profile_shown(done.sever),
        other_profiles=done.other_profiles,
        erased_events=done.erased_events,
    )


@router.post("/identity/simulate", responses=problems(), operation_id="simulate_identity")
def simulate(
    body: SimulateInput, context: InContext, caller: Annotated[Caller, Depends(allow(Role.ADMIN))]
) -> SimulatedShown:
    """Simulate changed identifier rules: what they would merge, split and quarantine. Nothing is changed."""
    result = simulate_flow.simulate(context, with_rules(context.policy, body.rules), actor=caller.actor)
    return SimulatedShown(
        steps=result.steps,
        profiles_now=result.profiles_now,
        profiles_then=result.profiles_then,
        merged=result.merged,
        split=result.split,
        quarantined_now=result.quarantined_now,
        quarantined=result.quarantined,
        shared_now=result.shared_now,
        shared_then=result.shared_then,
        refused=dict(result.refused),
        examples=[dict(example) for example in result.examples],
    )


def _as_reader(seen: reader_lookup.ReaderProfileView) -> ProfileShown:
    consents = {
        key: VerdictShown(allowed=True, reason="permitted", since=purpose.since, until=purpose.until)
        for key, purpose in seen.purposes.items()
    }
    return ProfileShown(
        profile=seen.profile,
        anchors=None,
        identifiers=[],
        traits=dict(seen.traits),
        computed_traits=dict(seen.computed_traits),
        consents=consents,
        segments=list(seen.segments),
        events=None,
        first_seen_at=None,
        last_seen_at=None,
        is_quarantined=None,
    )


def _edge(link: ExplainedLink | ExplainedRefusal) -> dict[str, Any]:
    return {
        "from": _named(link.one),
        "to": _named(link.other),
        "rule": link.rule,
        "message_id": link.message_id,
        "at": link.at,
        "policy": link.policy,
        "row": None
        if link.row is None
        else {"source": link.row.source, "import": link.row.import_job, "row": link.row.row},
    }


def _named(identifier: names.ReadableIdentifier) -> dict[str, str | None]:
    return {"type": identifier.type, "value": identifier.value}
