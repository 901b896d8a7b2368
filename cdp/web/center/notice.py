"""The privacy notice: who is responsible, what personal data is used for, how long it is kept, and the rights of data subjects.

It is generated from the policy in force. It sets no cookie, collects nothing, and
shows whether the browser's Global Privacy Control signal was honored (California section 7025 (c)(6)).
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from cdp.consent.signals.gpc import has_gpc
from cdp.policy.jurisdictions import UNKNOWN, DeadlineTerm
from cdp.policy.model import Policy
from cdp.policy.purposes import ConsentModel, LegalBasis, Purpose
from cdp.web.center.rendering import HTML, PAGES
from cdp.web.platform.deps import InContext

router = APIRouter(prefix="/privacy", include_in_schema=False)

_BASES: Final[Mapping[LegalBasis, str]] = {
    LegalBasis.CONSENT: "Your consent, which you may withdraw at any time.",
    LegalBasis.CONTRACT: "Our contract with you: we need the data to provide what you requested.",
    LegalBasis.LEGAL_OBLIGATION: "A legal obligation.",
    LegalBasis.VITAL_INTERESTS: "Vital interests: someone's life or health.",
    LegalBasis.PUBLIC_TASK: "A task in the public interest.",
    LegalBasis.LEGITIMATE_INTERESTS: "Our legitimate interest, weighed against yours. You may object.",
}
_WITHOUT_CHOICE: Final[Mapping[ConsentModel, str]] = {
    ConsentModel.OPT_IN: "not used unless you consent",
    ConsentModel.OPT_OUT: "used unless you opt out",
}
_DAYS_A_YEAR: Final = 365.25
_DAYS_A_MONTH: Final = _DAYS_A_YEAR / 12
_NEAR_DAYS: Final = 3
"""A period that is this close to whole months or years is stated in them; any other in days, so that none is understated."""


def span(days: int) -> str:
    """A number of days in days, months or years: never as a period that differs by more than three days."""
    years, months = round(days / _DAYS_A_YEAR), round(days / _DAYS_A_MONTH)
    if years >= 2 and abs(days - years * _DAYS_A_YEAR) <= _NEAR_DAYS:
        return f"{years} years"
    if months >= 3 and abs(days - months * _DAYS_A_MONTH) <= _NEAR_DAYS:
        return f"{months} months"
    return f"{days:,} day{'' if days == 1 else 's'}"


def term(within: DeadlineTerm) -> str:
    """A deadline in words."""
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


def without_choice(purpose: Purpose, places: Mapping[str, str]) -> list[tuple[str, str]]:
    """What applies without a choice, per jurisdiction."""
    return [
        ("elsewhere" if key == UNKNOWN else places[key], _WITHOUT_CHOICE[model]) for key, model in purpose.model.items()
    ]


def address(email: str) -> str:
    """An e-mail address as a `mailto:` URL writes it (RFC 6068)."""
    return quote(email, safe="@+")


PAGES.filters |= {"span": span, "term": term, "address": address}


@router.get("")
def notice(context: InContext, request: Request) -> Response:
    """Who is responsible, purposes, retention periods, rights, and whether this browser's opt-out signal was honored."""
    headers = [part.strip() for value in request.headers.getlist("sec-gpc") for part in value.split(",")]
    text = notice_text(context.policy, is_gpc_honored=has_gpc(headers), applied_at=context.policy_applied_at)
    return Response(text, media_type=HTML, headers={"Cache-Control": "no-store", "Vary": "Sec-GPC"})


def notice_text(policy: Policy, *, is_gpc_honored: bool, applied_at: datetime | None = None) -> str:
    """The page under a policy, for a browser that sends the signal or does not.

    It names the day on which the policy was put in force as that of its last update (California section 7011 (e)(4)).
    """
    places = {key: jurisdiction.name for key, jurisdiction in policy.jurisdictions.jurisdictions.items()}
    sold = [purpose for purpose in policy.purposes.values() if purpose.sale_or_sharing]
    return PAGES.get_template("notice.html").render(
        responsible=policy.responsible,
        purposes=[
            (purpose, _BASES[purpose.legal_basis], without_choice(purpose, places))
            for purpose in policy.purposes.values()
        ],
        names={key: purpose.name for key, purpose in policy.purposes.items()},
        sold=[purpose.name for purpose in sold],
        overridden=[purpose.name for purpose in sold if purpose.opt_in_overrides_gpc],
        categories=policy.categories,
        classes=policy.retention.classes.values(),
        retention=policy.retention,
        regimes=policy.jurisdictions.regimes.values(),
        is_gpc_honored=is_gpc_honored,
        updated_on=None if applied_at is None else f"{applied_at.day} {applied_at:%B %Y}",
    )
