"""How each kind of request is carried out: one flow per right, each of which ends in *fulfilled*."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cdp.flows.context import Context
from cdp.flows.rights.answer import answer, preview_answer
from cdp.flows.rights.erase import erase, preview
from cdp.flows.rights.rectify import rectify
from cdp.flows.rights.refuse import refuse
from cdp.flows.rights.restrict import restrict
from cdp.flows.rights.results import RequestResult
from cdp.policy.jurisdictions import Right


@dataclass(frozen=True, slots=True)
class Flow:
    """How a kind of request is carried out, and previewed without changing anything; both at the present instant."""

    run: Callable[[Context, int], RequestResult]
    preview: Callable[[Context, int], RequestResult] = preview_answer


FLOWS: Final[Mapping[Right, Flow]] = {
    Right.ACCESS: Flow(answer),
    Right.PORTABILITY: Flow(answer),
    Right.ERASURE: Flow(erase, preview),
    Right.RECTIFICATION: Flow(rectify),
    Right.RESTRICTION: Flow(restrict),
    Right.OBJECTION: Flow(refuse),
    Right.OPT_OUT: Flow(refuse),
    Right.LIMIT: Flow(refuse),
}
""" `run` of each is safe to repeat: a fulfilled request is returned unchanged."""
