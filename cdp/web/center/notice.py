"""The page on which people read what is done with their data, for how long, and what they may ask for.

Everything on it is the policy in force, so it cannot say anything else than what is done. It sets no cookie, asks
for nothing, and says whether the browser's Global Privacy Control was heard (California section 7025 (c)(6)).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cdp.consent.signals.gpc import has_gpc
from cdp.policy.jurisdictions import UNKNOWN, DeadlineTerm
from cdp.policy.purposes import ConsentModel, LegalBasis, Purpose
from cdp.web.platform.deps import InContext

router = APIRouter(prefix="/privacy", include_in_schema=False)

_BASES: Final[Mapping[LegalBasis, str]] = {
    LegalBasis.CONSENT: "Your consent, which you may take back at any time.",
    LegalBasis.CONTRACT: "Our contract with you: without it we could not do what you asked us for.",
    LegalBasis.LEGAL_OBLIGATION: "A law that obliges us.",
    LegalBasis.VITAL_INTERESTS: "Somebody's life or health.",
    LegalBasis.PUBLIC_TASK: "A task in the public interest.",
    LegalBasis.LEGITIMATE_INTERESTS: "Our legitimate interest, weighed against yours. You may object.",
}
_SILENCE: Final[Mapping[ConsentModel, str]] = {
    ConsentModel.OPT_IN: "not used unless you say yes",
    ConsentModel.OPT_OUT: "used unless you say no",
}
_DAYS_A_YEAR: Final = 365.25
_PAGES: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def span(days: int) -> str:
    """A number of days as people say it."""
    if days < 2 * _DAYS_A_YEAR:
        months = round(days / _DAYS_A_YEAR * 12)
        return f"{days} days" if months < 3 else f"{months} months"
    return f"{days / _DAYS_A_YEAR:.0f} years"


def term(within: DeadlineTerm) -> str:
    """A deadline as people say it."""
    amount, unit = next(
        (amount, unit)
        for amount, unit in (
            (within.months, "month"),
            (within.calendar_days, "day"),
            (within.business_days, "working day"),
        )
        if amount is not None
    )
    return f"{amount} {unit}{'' if amount == 1 else 's'}"


def silence(purpose: Purpose, places: Mapping[str, str]) -> list[tuple[str, str]]:
    """What it means to say nothing, place by place."""
    return [("elsewhere" if key == UNKNOWN else places[key], _SILENCE[model]) for key, model in purpose.model.items()]


_PAGES.filters |= {"span": span, "term": term}


@router.get("")
def notice(context: InContext, request: Request) -> Response:
    """Purposes, times, rights, and whether this browser's opt-out signal was heard."""
    policy = context.policy
    places = {key: each.name for key, each in policy.jurisdictions.jurisdictions.items()}
    headers = [part.strip() for value in request.headers.getlist("sec-gpc") for part in value.split(",")]
    text = _PAGES.get_template("notice.html").render(
        purposes=[(each, _BASES[each.legal_basis], silence(each, places)) for each in policy.purposes.values()],
        sold=[each.name for each in policy.purposes.values() if each.sale_or_sharing],
        categories=policy.categories,
        classes=policy.retention.classes.values(),
        retention=policy.retention,
        regimes=policy.jurisdictions.regimes.values(),
        is_gpc_heard=has_gpc(headers),
    )
    return Response(text, media_type="text/html", headers={"Cache-Control": "no-store", "Vary": "Sec-GPC"})
