"""Routes about people: look one up, explain two identifiers, unmerge them, simulate changed rules."""

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
from cdp.web.api.schemas import Given, IdentifierGiven, IdentifierShown, Line, ProfileShown, StanceShown, profile_shown
from cdp.web.platform.auth import Caller, allow
from cdp.web.platform.deps import InContext, problems

router = APIRouter(prefix="/api/v1", tags=["profiles"])


class LookupGiven(Given):
    """Either an identifier (privacy, admin) or a profile: marketers give the pseudonym that they know it by."""

    identifier: IdentifierGiven | None = None
    profile: Line | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "LookupGiven":
        if (self.identifier is None) == (self.profile is None):
            raise PydanticCustomError("one_of", "give either `identifier` or `profile`")
        return self


class PairGiven(Given):
    """Two identifiers."""

    a: IdentifierGiven
    b: IdentifierGiven


class UnmergeGiven(Given):
    """Which identifier stays, and which is severed from it; `undo` takes an earlier unmerge back."""

    keep: IdentifierGiven
    sever: IdentifierGiven
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
    """Whether two identifiers are one person, by which links, or what keeps them apart."""

    same_profile: bool
    path: list[LinkShown]
    refusals: list[RefusalShown]


class UnmergedShown(BaseModel):
    """Who the two were before, and what each side holds afterwards; null for an identifier that then belongs to nobody.

    `erased_events` were stored by a consent that does not cover them any more.
    """

    dry_run: bool
    before: list[ProfileShown]
    keep: ProfileShown | None
    sever: ProfileShown | None
    other_profiles: int
    erased_events: int


class SimulateGiven(Given):
    """The whole content of a changed `identifiers.yaml`, as JSON."""

    rules: dict[str, Any]


class SimulatedShown(BaseModel):
    """What the rules would do to the recorded links; `refused` counts, by rule, identifiers that messages would leave out."""

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


@router.post("/profiles/lookup", responses=problems(404), operation_id="lookup_profile")
def look_up(
    given: LookupGiven,
    context: InContext,
    caller: Annotated[Caller, Depends(allow(Role.PRIVACY, Role.ADMIN, Role.MARKETER))],
) -> ProfileShown:
    """What is held about one person. Marketers ask by pseudonym and see no identifiers."""
    if caller.role is Role.MARKETER:
        if given.profile is None:
            raise Fault(
                "not_permitted",
                "This token may not do that",
                "Marketers look a profile up by its pseudonym: give `profile`.",
                status=403,
            )
        return _seen(reader_lookup.look_up_pseudonym(context, given.profile, actor=caller.actor))
    if given.identifier is not None:
        asked = identifiers.read_identifier(context.policy, *given.identifier.pair())
        return profile_shown(lookup.look_up(context, asked, actor=caller.actor))
    return profile_shown(lookup.look_up_profile(context, given.profile or "", actor=caller.actor))


@router.post("/profiles/explain", responses=problems(404), operation_id="explain_profile")
def explain(
    given: PairGiven, context: InContext, caller: Annotated[Caller, Depends(allow(Role.PRIVACY))]
) -> ExplanationShown:
    """Why two identifiers are one person, or why not."""
    told = explain_flow.explain(
        context,
        identifiers.read_identifier(context.policy, *given.a.pair()),
        identifiers.read_identifier(context.policy, *given.b.pair()),
        actor=caller.actor,
    )
    return ExplanationShown(
        same_profile=told.is_same_profile,
        path=[LinkShown.model_validate(_edge(each)) for each in told.path],
        refusals=[RefusalShown.model_validate(_edge(each) | {"detail": each.detail}) for each in told.refusals],
    )


@router.post("/profiles/unmerge", responses=problems(404, 409), operation_id="unmerge_profile")
def unmerge_(
    given: UnmergeGiven, context: InContext, caller: Annotated[Caller, Depends(allow(Role.PRIVACY))]
) -> UnmergedShown:
    """Make it so that two identifiers were never linked, or say with `dry_run` what that would change."""
    journey = unmerge.remerge if given.undo else unmerge.unmerge
    done = journey(
        context,
        identifiers.read_identifier(context.policy, *given.keep.pair()),
        identifiers.read_identifier(context.policy, *given.sever.pair()),
        dry_run=given.dry_run,
        actor=caller.actor,
    )
    return UnmergedShown(
        dry_run=done.is_dry_run,
        before=[profile_shown(each) for each in done.before],
        keep=None if done.keep is None else profile_shown(done.keep),
        sever=None if done.sever is None else profile_shown(done.sever),
        other_profiles=done.other_profiles,
        erased_events=done.erased_events,
    )


@router.post("/identity/simulate", responses=problems(), operation_id="simulate_identity")
def simulate(
    given: SimulateGiven, context: InContext, caller: Annotated[Caller, Depends(allow(Role.ADMIN))]
) -> SimulatedShown:
    """What changed identifier rules would merge, split and quarantine; nothing is changed."""
    told = simulate_flow.simulate(context, with_rules(context.policy, given.rules), actor=caller.actor)
    return SimulatedShown(
        steps=told.steps,
        profiles_now=told.profiles_now,
        profiles_then=told.profiles_then,
        merged=told.merged,
        split=told.split,
        quarantined_now=told.quarantined_now,
        quarantined=told.quarantined,
        shared_now=told.shared_now,
        shared_then=told.shared_then,
        refused=dict(told.refused),
        examples=[dict(each) for each in told.examples],
    )


def _seen(seen: reader_lookup.ReaderProfileView) -> ProfileShown:
    consents = {
        key: StanceShown(allowed=True, reason="permitted", since=each.since, until=each.until)
        for key, each in seen.purposes.items()
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


def _edge(each: ExplainedLink | ExplainedRefusal) -> dict[str, Any]:
    return {
        "from": _named(each.one),
        "to": _named(each.other),
        "rule": each.rule,
        "message_id": each.message_id,
        "at": each.at,
        "policy": each.policy,
        "row": None
        if each.row is None
        else {"source": each.row.source, "import": each.row.import_job, "row": each.row.row},
    }


def _named(each: names.ReadableIdentifier) -> dict[str, str | None]:
    return {"type": each.type, "value": each.value}
