"""Objections, opt-outs and requests to limit need no verification (GDPR Art. 21; California regulations section 7026 (d)).

They are carried out in the transaction that receives them; this use case is for those that an earlier release received, and
upholds an objection that was weighed.
"""

from cdp.flows.context import Context
from cdp.flows.rights.person import named_identifiers
from cdp.flows.rights.refusals import refuse_purposes
from cdp.flows.rights.request_steps import locked_request
from cdp.flows.rights.results import RequestResult
from cdp.flows.rights.weighing import end_weighing
from cdp.identity.store import generation as generation_store
from cdp.rights.model import Status


def refuse(context: Context, request_id: int) -> RequestResult:
    """Carry out an objection, an opt-out or a request to limit that was received but not carried out at once, or weighed.

    Running a fulfilled request again changes nothing. Faults: `unknown_request`, `request_not_next`.
    """
    with context.database.transaction() as tx:
        acted_at = generation_store.lock_exclusive(tx).now
        request = locked_request(tx, request_id)
        if request.status is not Status.FULFILLED:
            named = named_identifiers(tx, context, request_id)
            before = request
            request = refuse_purposes(tx, context, request, named=named, purposes=request.weighed, now=acted_at)
            if before.weighed:
                end_weighing(tx, context, before, named=named, now=acted_at)
    return RequestResult(request, (), 0)
