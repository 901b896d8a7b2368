#!/bin/sh
# pymerkle 7.0.0: tree heads as in RFC 6962, proofs that are not.
#
# Guess: a library whose hashing follows RFC 6962 (prefix 0x00 for leaves, 0x01 for nodes) also gives its audit paths.
# Seen: the head of every size equals that of RFC 6962, and the empty tree is SHA-256 of nothing. But
# - leaves are numbered from 1;
# - an inclusion path begins with the hash of the leaf itself, one entry longer than the audit path of RFC 6962;
# - a consistency path from 3 to 5 leaves has four entries in another order, with a rule and a subset beside them.
# Consequence: an auditor who compares heads is satisfied, one who verifies our receipts with its verifier (or the
# reverse) is not. Proofs for strangers are built from the RFC, and tested against vectors of another implementation.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pymerkle==7.0.0
"$folder/venv/bin/python" -W ignore - <<'PY'
from hashlib import sha256

from pymerkle import InmemoryTree


def leaf(data):
    return sha256(b"\x00" + data).digest()


def split(size):
    return 1 << ((size - 1).bit_length() - 1)


def head(leaves):
    if len(leaves) == 1:
        return leaves[0]
    middle = split(len(leaves))
    return sha256(b"\x01" + head(leaves[:middle]) + head(leaves[middle:])).digest()


def audit_path(index, leaves):
    if len(leaves) == 1:
        return []
    middle = split(len(leaves))
    if index < middle:
        return [*audit_path(index, leaves[:middle]), head(leaves[middle:])]
    return [*audit_path(index - middle, leaves[middle:]), head(leaves[:middle])]


entries = [b"a", b"b", b"c", b"d", b"e"]
leaves = [leaf(entry) for entry in entries]
tree = InmemoryTree(algorithm="sha256")
assert tree.get_state() == sha256(b"").digest()
heads, numbers = [], []
for size, entry in enumerate(entries, start=1):
    numbers.append(tree.append_entry(entry))
    heads.append(tree.get_state() == head(leaves[:size]))
inclusion = [bytes.fromhex(step) for step in tree.prove_inclusion(3, 5).serialize()["path"]]
consistency = tree.prove_consistency(3, 5).serialize()
print("heads equal RFC 6962:", heads)
print("numbers of the leaves:", numbers)
print("inclusion path of the third of five:", len(inclusion), "entries; RFC 6962:", len(audit_path(2, leaves)))
print("it begins with the leaf itself:", inclusion[0] == leaves[2], "and goes on as RFC 6962:", inclusion[1:] == audit_path(2, leaves))
print("consistency 3 to 5:", len(consistency["path"]), "entries, beside them", sorted(set(consistency) - {"path", "type", "metadata"}))
assert all(heads) and numbers == [1, 2, 3, 4, 5]
assert inclusion[0] == leaves[2] and inclusion[1:] == audit_path(2, leaves)
assert len(consistency["path"]) == 4 and consistency["path"][0] == leaves[3].hex() and "subset" in consistency
PY
