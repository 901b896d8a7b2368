#!/bin/sh
# fideslang 3.1.4, the taxonomy and manifest format of a privacy platform: what its validation lets pass.
#
# Guess: a manifest that declares personal data is strict about the keys and categories that make the declaration.
# Seen, with no error and no warning:
# - a field with `data_category` instead of `data_categories` loses the declaration: the field comes out without any;
# - `retention` on a field disappears in the same way;
# - a category and a data use that the taxonomy does not have are accepted and kept;
# - `erase_after` may name a collection that does not exist, or the collection itself.
# An unknown `data_type` is refused, so strictness looks as if it were everywhere.
# Consequence: an import from such manifests must check keys and categories itself, and report a field without a category
# as "not declared", never as "not personal".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check fideslang==3.1.4
"$folder/venv/bin/python" -W ignore - <<'PY'
from fideslang import DEFAULT_TAXONOMY
from fideslang.models import Dataset, PrivacyDeclaration


def dataset(field=None, collection=None):
    fields = [] if field is None else [{"name": "mail", **field}]
    return Dataset(fides_key="shop", collections=[{"name": "people", "fields": fields, **(collection or {})}])


def shown(field):
    return dataset(field).collections[0].fields[0].model_dump(exclude_none=True)


known = {category.fides_key for category in DEFAULT_TAXONOMY.data_category}
misspelled = shown({"data_category": ["user.contact.email"]})
retention = shown({"retention": "30 days"})
unknown = shown({"data_categories": ["user.contact.emial"]})
use = PrivacyDeclaration(data_categories=["user.contact.email"], data_use="no.such.use").data_use
order = dataset(collection={"fides_meta": {"erase_after": ["shop.people", "shop.nowhere"]}}).collections[0].fides_meta
try:
    shown({"fides_meta": {"data_type": "nonsense"}})
    data_type = "accepted"
except ValueError:
    data_type = "refused"
print("misspelled key:", misspelled)
print("retention of a field:", retention)
print("unknown category:", unknown, "in the taxonomy:", "user.contact.emial" in known)
print("unknown use:", use)
print("erase_after:", order.erase_after)
print("unknown data type:", data_type)
assert misspelled == {"name": "mail"} and retention == {"name": "mail"}
assert unknown["data_categories"] == ["user.contact.emial"] and "user.contact.emial" not in known
assert use == "no.such.use" and len(order.erase_after) == 2 and data_type == "refused"
PY
