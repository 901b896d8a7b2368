"""Links and refusals as text: why two identifiers belong to one person, or what keeps them apart. Pure."""

from collections.abc import Iterator, Sequence

from cdp.flows.identity.explain import ExplainedLink, ExplainedRefusal
from cdp.flows.identity.names import ReadableIdentifier
from cdp.identity.model import Rule


def path_lines(path: Sequence[ExplainedLink]) -> Iterator[str]:
    """The path from the first identifier to the last, one line each, with the links in between."""
    for at, link in enumerate(path):
        if at == 0:
            yield f"  {named(link.one)}"
        yield f"    |  {_origin(link)} named both"
        yield f"    |  rule {link.rule}, policy {link.policy[:12]}"
        yield f"  {named(link.other)}"


def refusal_lines(refusals: Sequence[ExplainedRefusal]) -> Iterator[str]:
    """Each refusal once: the rule, and the first message that it applied to."""
    met: dict[tuple[str, str, str, str], list[ExplainedRefusal]] = {}
    for refusal in refusals:
        met.setdefault((named(refusal.one), named(refusal.other), refusal.rule, refusal.detail), []).append(refusal)
    for (one, other, rule, detail), found in met.items():
        first = found[0]
        yield f"  {one}  and  {other}"
        yield f"    {_explanation(one, other, rule, detail=detail)}"
        yield f"    First applied to {_origin(first)}{_more_times(len(found) - 1)}."
        yield f"    rule {rule}, policy {first.policy[:12]}"


def named(identifier: ReadableIdentifier) -> str:
    """An identifier as text."""
    return f"{identifier.type}:{identifier.value if identifier.value is not None else '(erased)'}"


def _explanation(one: str, other: str, rule: str, *, detail: str) -> str:
    match Rule(rule):
        case Rule.UNIQUE:
            return f"A person has only one value of {detail}, so {one} was left out."
        case Rule.LIMIT:
            return f"The person would have more values of {detail} than the policy allows, so {one} was left out."
        case Rule.NEVER:
            return f"An unmerge keeps them apart. To undo it: cdp profile unmerge {other} --from {one} --undo"
        case Rule.SHARED:
            return f"{one} is shared: it was seen with several values of a unique type, so it creates no links."
        case Rule.NO_LINKS:
            return f"Identifiers of the type {detail} never create links."
        case Rule.AUTHORITY:
            return f"A source of a higher authority names {one}, so this message or row was taken without it."
        case Rule.STALE:
            return f"{one} came to its owner after this message happened, so the message was taken without it."
        case Rule.BOUND:
            return f"The profile had reached the bound {detail}; it is in quarantine until a reviewer decides."
        case Rule.SAME_MESSAGE | Rule.LINK_TABLE | Rule.SAME_VALUE | Rule.NOT_AN_IDENTIFIER | Rule.CROWDED as links:
            raise ValueError(f"{links} refuses nothing")


def _origin(link: ExplainedLink | ExplainedRefusal) -> str:
    if link.row is not None:
        origin = f"link table {link.row.import_job}" if link.row.import_job else "a link table"
        what = f"row {link.row.row:,} of {origin} from {link.row.source or 'a deleted source'},"
    else:
        what = "a message that was erased," if link.message_id is None else f"message {link.message_id}"
    return f"{what} of {link.at:%Y-%m-%d %H:%M:%S} UTC"


def _more_times(more: int) -> str:
    return "" if not more else f", and {more:,} more {'time' if more == 1 else 'times'}"
