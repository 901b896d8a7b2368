"""docs/reference/audit-log.md says what the code does: its verifier verifies, its tables are complete."""

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature

from cdp.audit.checkpoint import Checkpoint, VerifierKey, sign_checkpoint
from cdp.audit.fact import KINDS, commitment, entry_body
from cdp.audit.merkle import inclusion_spans, leaf_hash, prove, root_of
from cdp.audit.sequencer import MirrorState
from cdp.audit.tile import grow, read_nodes
from cdp.audit.verify import Broken, Receipt, receipt_document
from cdp.kit.canonical import canonical_json
from cdp.kit.clock import parse_instant
from cdp.vault.sign import Signer

PAGE = (Path(__file__).parents[3] / "docs/reference/audit-log.md").read_text()
SIGNER = Signer(b"\x0b" * 32)
KEY = VerifierKey("log.example/1", SIGNER.public_key)
Verifier = Callable[[dict[str, Any], str], dict[str, Any]]


@pytest.fixture(scope="module")
def verify() -> Verifier:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "audit-log.md", "exec"), names)
    verifier: Verifier = names["verify"]
    return verifier


def receipt_at(index: int, size: int) -> dict[str, Any]:
    body = entry_body({"kind": "request.received", "request": "req_0000000000001", "request_kind": "erasure", "regime": "gdpr"},
                      parse_instant("2026-03-01T12:00:00Z"))  # fmt: skip
    salt = b"\x2a" * 32
    leaves = [leaf_hash(n.to_bytes(32, "big")) for n in range(size)]
    leaves[index] = leaf_hash(commitment(salt, body))
    proof = prove(inclusion_spans(index, size), lambda nodes: read_nodes(nodes, lambda _: grow(0, {}, leaves)))
    note = sign_checkpoint(Checkpoint(KEY.name, size, root_of(leaves)), SIGNER)
    document: dict[str, Any] = json.loads(
        json.dumps(receipt_document(Receipt(body, salt, index, tuple(proof), note), KEY))
    )
    return document


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (6, 7), (3, 7), (299, 300), (255, 300), (511, 512)])
def test_the_verifier_on_the_page_accepts_our_receipts(verify: Verifier, index: int, size: int) -> None:
    document = receipt_at(index, size)

    assert verify(document, document["vkey"]) == document["body"]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["body"].update(regime="ccpa"),
        lambda d: d.update(index=d["index"] + 1),
        lambda d: d.update(salt=d["salt"].replace("K", "L")),
        lambda d: d["proof"].reverse(),
        lambda d: d["proof"].pop(),
        lambda d: d.update(checkpoint=d["checkpoint"].replace("\n300\n", "\n301\n")),
    ],
)
def test_the_verifier_on_the_page_refuses_altered_ones(
    verify: Verifier, change: Callable[[dict[str, Any]], object]
) -> None:
    document = receipt_at(255, 300)
    altered = copy.deepcopy(document)
    change(altered)
    assert altered != document

    with pytest.raises((AssertionError, InvalidSignature)):
        verify(altered, document["vkey"])


def test_the_entry_on_the_page_is_a_body_in_canonical_form() -> None:
    line = next(line for line in PAGE.splitlines() if line.startswith('{"actor"'))
    body = json.loads(line)
    fact = {name: value for name, value in body.items() if name not in ("at", "format")}

    assert entry_body(fact, parse_instant(body["at"])) == body
    assert canonical_json(body).decode() == line


def test_every_kind_refusal_and_standing_is_on_the_page() -> None:
    rows = {
        f"| `{kind}` | {', '.join(f'`{field}`' for field in sorted(required))} |" for kind, required in KINDS.items()
    }

    assert rows <= set(PAGE.splitlines())
    assert {line for line in PAGE.partition("| Kind |")[2].splitlines() if line.startswith("| `")} == rows
    assert all(f"| `{word}` |" in PAGE for word in [*Broken, *MirrorState])
