"""Reads the folder `policies/` into one frozen Policy, or raises a fault that lists everything wrong with it."""

import json
from collections.abc import Mapping
from pathlib import Path as FilePath

from pydantic import Field, JsonValue, ValidationError

from cdp.kit.bounded_file import read_bounded
from cdp.kit.canonical import canonical_json, sha256
from cdp.policy.check import check
from cdp.policy.check_controller import unnamed_controller
from cdp.policy.check_jurisdictions import check_unknown_jurisdiction
from cdp.policy.check_readers import unrefusable_purposes
from cdp.policy.check_signals import check_signals, unmapped_purposes
from cdp.policy.errors import SECOND_KEY, declared_beside, problems_of
from cdp.policy.findings import Finding
from cdp.policy.frozen import Frozen
from cdp.policy.model import (
    CONTROLLER_FILE,
    CURRENCIES_FILE,
    FILES,
    OPTIONAL_FILES,
    Currencies,
    Destinations,
    Identifiers,
    Jurisdictions,
    Policy,
    Purposes,
    Readers,
    Responsibility,
    Retention,
    SegmentText,
    TrackingPlan,
    Traits,
)
from cdp.policy.problems import PolicyProblem, Position, choose, fault_of
from cdp.policy.source import PolicyFile, SourceRefused, parse
from cdp.policy.unknown_keys import KnownKeys

SEGMENTS = "segments"
SEGMENTS_MAX = 2000


def load_policy(folder: FilePath, *, instead: Mapping[str, FilePath] | None = None) -> Policy:
    """Read and check a policy folder.

    `instead` names other files for some of its files, for simulating a change: `{"identifiers.yaml": path}`.
    Raises the fault `invalid_policy`; its detail has one line per problem with file, line, column and remedy.
    """
    sources = _read(folder, instead or {})
    policy = _build(sources)
    problems = [_problem(finding, sources) for finding in (*check_signals(policy), *check_unknown_jurisdiction(policy))]
    if problems:
        raise fault_of(problems)
    return policy


def warnings_of(folder: FilePath, policy: Policy) -> list[str]:
    """What is suspicious in a valid policy that was loaded from this folder: one line each, with its place."""
    absent = {file: PolicyFile(f"{folder.name}/{file}", {}) for file in OPTIONAL_FILES}
    sources = {**absent, **_read(folder, {})}
    findings = (*unmapped_purposes(policy), *unrefusable_purposes(policy), *unnamed_controller(policy))
    return [str(_problem(finding, sources)) for finding in findings]


def build_policy(documents: Mapping[str, JsonValue]) -> Policy:
    """The policy of parsed documents, given by path in the folder; the inverse of `Policy.documents`.

    Raises the fault `invalid_policy` as `load_policy` does, without lines.
    """
    return _build({file: PolicyFile(file, content) for file, content in documents.items()})


def fingerprint_of(documents: Mapping[str, JsonValue]) -> str:
    """SHA-256, in hex, of the RFC 8785 canonical JSON of the documents: comments and layout do not matter."""
    return sha256(canonical_json(dict(documents))).hex()


def _read(folder: FilePath, instead: Mapping[str, FilePath]) -> Mapping[str, PolicyFile]:
    sources: dict[str, PolicyFile] = {}
    problems: list[PolicyProblem] = []
    if not folder.is_dir():
        place = Position(str(folder))
        raise fault_of(
            [
                PolicyProblem(
                    place, "the folder does not exist", "set CDP_POLICIES to the folder that contains purposes.yaml"
                )
            ]
        )
    for file, path in _files(folder, problems).items():
        shown = f"{folder.name}/{file}" if file not in instead else str(instead[file])
        try:
            sources[file] = parse(shown, read_bounded(instead.get(file, path)))
        except SourceRefused as refused:
            problems.append(refused.problem)
        except OSError as fault:
            problems.append(
                PolicyProblem(
                    Position(shown), f"the file cannot be read: {fault.strerror}", "make it readable for this user"
                )
            )
    if problems:
        raise fault_of(problems)
    return sources


def _files(folder: FilePath, problems: list[PolicyProblem]) -> Mapping[str, FilePath]:
    """The policy files, by their path in the folder."""
    found = {file: folder / file for file in FILES if (folder / file).is_file()}
    problems.extend(
        PolicyProblem(
            Position(f"{folder.name}/{file}"), "the file is missing", "every policy needs it; it may be short"
        )
        for file in FILES
        if file not in found and file not in OPTIONAL_FILES
    )
    for path in sorted([*folder.glob("*.y*ml"), *(folder / SEGMENTS).glob("*.y*ml")]):
        name = path.relative_to(folder).as_posix()
        if path.parent.name == SEGMENTS and path.parent != folder and path.suffix == ".yaml":
            found[name] = path
        elif name not in FILES:
            remedy = f"name it {path.stem}.yaml" if path.suffix != ".yaml" else choose(name, FILES)
            problems.append(
                PolicyProblem(Position(f"{folder.name}/{name}"), "this is not a name of a policy file", remedy)
            )
    if len(found) > SEGMENTS_MAX:
        problems.append(
            PolicyProblem(
                Position(f"{folder.name}/{SEGMENTS}"), f"there are more than {SEGMENTS_MAX} segments", "remove some"
            )
        )
    return found


class _Folder(Frozen):
    """All files at once, so that one validation reports the problems of all."""

    purposes: Purposes = Field(alias="purposes.yaml")
    identifiers: Identifiers = Field(alias="identifiers.yaml")
    retention: Retention = Field(alias="retention.yaml")
    events: TrackingPlan = Field(alias="events.yaml")
    traits: Traits = Field(alias="traits.yaml")
    destinations: Destinations = Field(alias="destinations.yaml")
    jurisdictions: Jurisdictions = Field(alias="jurisdictions.yaml")
    currencies: Currencies = Field(default_factory=Currencies, alias=CURRENCIES_FILE)
    readers: Readers = Field(default_factory=Readers, alias="readers.yaml")
    responsible: Responsibility = Field(default_factory=Responsibility, alias=CONTROLLER_FILE)
    segments: Mapping[str, SegmentText]


def _build(sources: Mapping[str, PolicyFile]) -> Policy:
    folder, problems = _validate(sources)
    if folder is None:
        raise fault_of(problems)
    documents = {file: source.content for file, source in sources.items()}
    policy = Policy(
        categories=folder.purposes.categories,
        purposes=folder.purposes.purposes,
        signals=folder.purposes.signals,
        deferral=folder.purposes.deferral,
        identifiers=folder.identifiers,
        retention=folder.retention,
        events=folder.events.resolved(),
        traits=folder.traits.traits,
        destinations=folder.destinations,
        jurisdictions=folder.jurisdictions,
        currencies=folder.currencies,
        readers=folder.readers,
        responsible=folder.responsible,
        segments={FilePath(file).stem: segment for file, segment in folder.segments.items()},
        documents=documents,
        fingerprint=fingerprint_of(documents),
    )
    problems += [_problem(finding, sources) for finding in check(policy)]
    if problems:
        raise fault_of(problems)
    return policy


def _problem(finding: Finding, sources: Mapping[str, PolicyFile]) -> PolicyProblem:
    source = sources.get(finding.file) or PolicyFile(finding.file, {})  # a file that may be missing
    place = source.place(finding.path, of_key=finding.of_key)
    return PolicyProblem(place, finding.what, finding.remedy)


def _validate(sources: Mapping[str, PolicyFile]) -> tuple[_Folder | None, list[PolicyProblem]]:
    """The files as values, and their problems; with problems the value is what is valid without unknown keys, if anything."""
    parts = {file: _with_keys(source.content, FILES[file]) for file, source in sources.items() if file in FILES}
    segments = {file: source.content for file, source in sources.items() if file.startswith(SEGMENTS + "/")}
    problems = [
        PolicyProblem(Position(file), "this is not a name of a policy file", choose(file, FILES))
        for file in sources
        if file not in parts and file not in segments
    ]
    document = KnownKeys({**parts, SEGMENTS: segments}, declared_beside)
    while True:
        try:
            return _Folder.model_validate_json(json.dumps(document.content)), problems
        except ValidationError as fault:
            problems += problems_of(fault, sources, document)
            if not document.correct(fault):
                return None, problems


def _with_keys(content: JsonValue, model: type[Frozen]) -> JsonValue:
    """The content with each entry's name copied into its `key`."""
    for path in model.entries:
        content = _keyed(content, path)
    return content


def _keyed(content: JsonValue, path: tuple[str, ...]) -> JsonValue:
    if not isinstance(content, dict):
        return content
    if not path:
        return {name: _named(name, entry) for name, entry in content.items()}
    first, rest = path[0], path[1:]
    return {name: _keyed(value, rest) if first in {name, "*"} else value for name, value in content.items()}


def _named(name: str, entry: JsonValue) -> JsonValue:
    """The entry with its name as `key`; a `key` inside it is renamed to one that its model refuses."""
    if not isinstance(entry, dict):
        return entry
    return {**{SECOND_KEY if inner == "key" else inner: value for inner, value in entry.items()}, "key": name}
