"""Links and refusals in words: why two identifiers are one person, or what keeps them apart. Pure."""

from collections.abc import Iterator, Sequence

from cdp.flows.identity.explain import ExplainedLink, ExplainedRefusal
from cdp.flows.identity.names import ReadableIdentifier


def path_told(path: Sequence[ExplainedLink]) -> Iterator[str]:
    """The path from the first identifier to the last, one line each, with what links them between."""
    for at, link in enumerate(path):
        if at == 0:
            yield f"  {named(link.one)}"
        yield f"    |  {_occasion(link)} named both"
        yield f"    |  rule {link.rule}, policy {link.policy[:12]}"
        yield f"  {named(link.other)}"


def refusals_told(refusals: Sequence[ExplainedRefusal]) -> Iterator[str]:
    """Each refusal once: what the rule says, and the first message that met it."""
    met: dict[tuple[str, str, str, str], list[ExplainedRefusal]] = {}
    for each in refusals:
        met.setdefault((named(each.one), named(each.other), each.rule, each.detail), []).append(each)
    for (one, other, rule, detail), found in met.items():
        first = found[0]
        yield f"  {one}  and  {other}"
        yield f"    {_words(one, other, rule, detail=detail)}"
        yield f"    Met by {_occasion(first)}{_again(len(found) - 1)}."
        yield f"    rule {rule}, policy {first.policy[:12]}"


def named(each: ReadableIdentifier) -> str:
    """An identifier for people."""
    return f"{each.type}:{each.value if each.value is not None else '(erased)'}"


def _words(one: str, other: str, rule: str, *, detail: str) -> str:
    match rule:
        case "unique":
            return f"Two different values of {detail} are never one person, so {one} was left out."
        case "limit":
            return f"One person would have more values of {detail} than the policy allows, so {one} was left out."
        case "never":
            return f"An unmerge keeps them apart. To take it back: cdp profile unmerge {other} --from {one} --undo"
        case "shared":
            return f"{one} is shared: it was seen with several values of a unique type, so it links nobody."
        case "type_never_links":
            return f"Identifiers of the type {detail} never link anybody."
        case _:
            return f"The person had reached the bound {detail}; the profile is in quarantine until a reviewer decides."


def _occasion(each: ExplainedLink | ExplainedRefusal) -> str:
    if each.row is not None:
        origin = f"link table {each.row.import_job}" if each.row.import_job else "a link table"
        what = f"row {each.row.row:,} of {origin} from {each.row.source or 'a source that is gone'},"
    else:
        what = "a message since erased," if each.message_id is None else f"message {each.message_id}"
    return f"{what} of {each.at:%Y-%m-%d %H:%M:%S} UTC"


def _again(more: int) -> str:
    return "" if not more else f", and {more:,} more {'time' if more == 1 else 'times'}"
