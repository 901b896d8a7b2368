"""Write a software bill of materials for each lock file into build/sbom, and check it: `.venv/supply/bin/python tools/sbom.py`.

CycloneDX 1.6 by cyclonedx-bom for the Python locks, CycloneDX 1.5 by npm for the Node packages of the SDK tests. Each is
validated against its schema, and must name every package of its lock with its version, and for Python every hash.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "build" / "sbom"
PYTHON = {
    "cdp": "requirements.txt",
    "cdp-demo": "requirements-demo.txt",
    "cdp-build": "requirements-build.txt",
    "cdp-dev": "requirements-dev.txt",
    "cdp-docs": "requirements-docs.txt",
    "cdp-supply": "requirements-supply.txt",
    "cdp-legacy-sdk": "requirements-legacy-sdk.txt",
}
NODE = "cdp-sdk-tests-node"


def main() -> None:
    """Write and check every document."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, lock in PYTHON.items():
        report(lock, write_python(name, ROOT / lock), SchemaVersion.V1_6, locked_python(ROOT / lock))
    node = ROOT / "tests" / "sdk"
    report("tests/sdk/package-lock.json", write_node(node), SchemaVersion.V1_5, locked_node(node))


def write_python(name: str, lock: Path) -> Path:
    """The document of a Python lock: the same bytes for the same lock."""
    out = OUT / f"{name}.cdx.json"
    program = Path(sys.executable).with_name("cyclonedx-py")
    options = ["--output-reproducible", "--spec-version", "1.6", "--output-format", "JSON", "--validate"]
    command = [program, "requirements", lock, "--pyproject", ROOT / "pyproject.toml", *options, "--output-file", out]
    without_warnings = {**os.environ, "PYTHONWARNINGS": "ignore::UserWarning"}  # that a lock states no graph
    subprocess.run(command, check=True, env=without_warnings)
    return out


def write_node(folder: Path) -> Path:
    """The document of a Node lock; without the number and the time that npm draws each time.

    npm names a root by its version, which these packages do not have.
    """
    out = OUT / f"{NODE}.cdx.json"
    command = ["npm", "sbom", "--sbom-format", "cyclonedx", "--package-lock-only"]
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, folder.name)  # the name is in the document
        copy.mkdir()
        for name in ("package.json", "package-lock.json"):
            stated = json.loads((folder / name).read_text(encoding="utf-8"))
            stated["version"] = "0.0.0"
            if "packages" in stated:
                stated["packages"][""]["version"] = "0.0.0"
            (copy / name).write_text(json.dumps(stated), encoding="utf-8")
        output = subprocess.run(command, cwd=copy, check=True, stdout=subprocess.PIPE, text=True).stdout
    document = json.loads(output)
    document.pop("serialNumber", None)
    document["metadata"].pop("timestamp", None)
    out.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return out


def report(lock: str, document: Path, version: SchemaVersion, locked: dict[tuple[str, str], int]) -> None:
    """Validate a document, compare it with its lock, and print what it has."""
    text = document.read_text(encoding="utf-8")
    fault = JsonStrictValidator(version).validate_str(text)
    if fault is not None:
        sys.exit(f"{document}: not valid CycloneDX {version.to_version()}: {fault}")
    components = list(all_components(json.loads(text)["components"]))
    listed = {(canonical(each["name"], each.get("group")), each["version"]) for each in components}
    if listed != locked.keys():
        sys.exit(f"{document} and {lock} differ in {sorted(listed ^ locked.keys())}")
    if any(locked.values()):
        hashes = sum(
            len(reference.get("hashes", [])) for each in components for reference in each.get("externalReferences", [])
        )
        if hashes < sum(locked.values()):
            sys.exit(f"{document} has {hashes} hashes, {lock} {sum(locked.values())}")
    print(f"{document.relative_to(ROOT)}: {len(listed)} packages of {lock}")


def all_components(components: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Components with those nested in them."""
    for component in components:
        yield component
        yield from all_components(component.get("components", []))


def canonical(name: str, group: str | None = None) -> str:
    """A name as PyPI compares names, with its scope where it is one of npm."""
    return re.sub(r"[-_.]+", "-", f"{group}/{name}" if group else name).lower()


def locked_python(lock: Path) -> dict[tuple[str, str], int]:
    """Each package of a Python lock and its version, with the number of its hashes."""
    entries = re.split(r"^(?=[\w])", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for entry in entries:
        named = re.match(r"([\w.-]+)(?:\[[\w,]+\])?==([\w.+!]+)", entry)
        if named is not None:
            found[canonical(named[1]), named[2]] = entry.count("--hash=")
    return found


def locked_node(folder: Path) -> dict[tuple[str, str], int]:
    """Each package of a Node lock and its version; npm puts no hash of it into the document in all versions."""
    packages = json.loads((folder / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    found = {}
    for path, package in packages.items():
        if path:
            scope, _, name = path.rpartition("node_modules/")[2].rpartition("/")
            found[canonical(name, scope), package["version"]] = 0
    return found


if __name__ == "__main__":
    main()
