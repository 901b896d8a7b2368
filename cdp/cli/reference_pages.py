"""The generated pages of docs/reference: all of them.

Commands, routes, settings and error codes are described here; policy files and the segment language by their packages.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

import cdp as package
from cdp.cli import part_reference
from cdp.cli.command import EXIT_CODES, code_of
from cdp.cli.main import COMMANDS
from cdp.cli.main import cdp as root
from cdp.consent.signals.gpp import reference as gpp_reference
from cdp.flows.imports import odd_values
from cdp.flows.rights.request_steps import REFUSALS
from cdp.identity import odd_forms
from cdp.kit.config import SETTINGS
from cdp.kit.errors import Fault
from cdp.kit.shipped import shipped_folder
from cdp.policy import reference as policy_reference
from cdp.policy.load import load_policy
from cdp.query.manual import pages as segment_manual
from cdp.schema.dictionary import FILES
from cdp.web.app import describe, openapi_of
from cdp.web.platform.errors import TITLES

_NOTE: Final = "<!-- Written by `cdp docs`. Change the code, then run it again. -->\n"
_METHODS: Final = ("get", "post", "put", "delete")


def pages() -> dict[str, str]:
    """The text of every generated file by its path in docs/reference."""
    return {
        **policy_reference.pages(),
        **segment_manual.pages(),
        **gpp_reference.pages(),
        **odd_forms.pages(load_policy(shipped_folder("policies")).identifiers),
        **odd_values.pages(load_policy(shipped_folder("policies"))),
        **part_reference.pages(),
        "commands.md": commands_page(),
        "api.md": api_page(openapi_of(describe())),
        "settings.md": settings_page(),
        "errors.md": errors_page(Path(inspect.getfile(package)).parent),
    }


def commands_page() -> str:
    """Every command with its arguments, options and examples."""
    lines = [
        _NOTE,
        "# Commands",
        "",
        "Commands read their settings from the environment ([settings](settings.md)). They use the database of a running",
        "service, or start the embedded one for as long as they run. With `--json`, the result is JSON on standard output,",
        "and a fault is a JSON object on standard error.",
        "",
        "| exit code | meaning |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES),
        "",
    ]
    context = click.Context(root, info_name="cdp")
    for name, entry in COMMANDS.items():
        found = root.get_command(context, name)
        if found is not None and not entry.is_hidden:
            lines += _command(found, click.Context(found, info_name=name, parent=context), depth=2)
    return "\n".join(lines).rstrip() + "\n"


def _command(found: click.Command, context: click.Context, *, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} `{context.command_path}`"
    yield ""
    text, _, examples = inspect.cleandoc(found.help or "").replace("\b\n", "").partition("Examples:\n")
    yield text.strip()
    yield ""
    if not isinstance(found, click.Group):
        yield from _usage(found, context)
    if examples:
        yield "```sh"
        yield from (line.strip() for line in examples.splitlines() if line.strip())
        yield "```"
        yield ""
    if isinstance(found, click.Group):
        for name in sorted(found.commands):
            inner = found.commands[name]
            yield from _command(inner, click.Context(inner, info_name=name, parent=context), depth=depth + 1)


def _usage(found: click.Command, context: click.Context) -> Iterator[str]:
    pieces = [piece for piece in found.collect_usage_pieces(context) if piece != "[OPTIONS]"]
    yield f"`{' '.join([context.command_path, *pieces, '[OPTIONS]'])}`"
    yield ""
    records = [param.get_help_record(context) for param in found.params if isinstance(param, click.Option)]
    listed = [record for record in records if record is not None]
    if listed:
        yield "| option | meaning |"
        yield "|---|---|"
        yield from (f"| `{names.replace('|', chr(92) + '|')}` | {_cell(meaning)} |" for names, meaning in listed)
        yield ""


def api_page(document: Mapping[str, Any]) -> str:
    """Every route with its parameters, body and responses."""
    lines = [
        _NOTE,
        "# Routes",
        "",
        document["info"]["description"],
        "",
        "`GET /openapi.json` returns the complete OpenAPI document; `cdp openapi` prints it. Every response that is not a",
        "success is `application/problem+json` with `type`, `title`, `status`, `detail` and a stable `code`",
        "([error codes](errors.md)). A body may have at most one megabyte.",
        "",
    ]
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                groups.setdefault(operation["tags"][0], []).extend(
                    _operation(path, method, operation, document=document)
                )
    for tag, text in groups.items():
        lines += [f"## {tag[:1].upper()}{tag[1:]}", "", *text]
    return "\n".join(lines).rstrip() + "\n"


def _operation(path: str, method: str, operation: Mapping[str, Any], *, document: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation.get("description", operation.get("summary", ""))
    yield ""
    yield f"- access: {_access(operation)}"
    for parameter in operation.get("parameters", ()):
        meaning = parameter.get("description", parameter["schema"].get("description", ""))
        need = "" if parameter.get("required") else ", optional"
        yield f"- `{parameter['name']}` in the {parameter['in']}{need}{': ' + meaning if meaning else ''}"
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        yield f"- body: {_shape(body, document)}"
    answers = []
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if int(status) < 400:
            kind = next(iter(content), "")
            shape = _shape(content[kind].get("schema", {}), document) if kind == "application/json" else f"`{kind}`"
            yield f"- {status}: {shape if kind else 'no content'}"
        else:
            answers.append(status)
    if answers:
        yield f"- problems: {', '.join(answers)}"
    yield ""


def _access(operation: Mapping[str, Any]) -> str:
    """The roles that may call a route, as its security schemes name them."""
    roles = []
    for scheme in operation.get("security", ()):
        roles += scheme.get("token", ())
        if "write_key" in scheme:
            roles.append("a source with the scope `consent`")
    return ", ".join(roles) or "public"


def _shape(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The fields of a schema on one line; optional ones with a question mark."""
    for option in schema.get("anyOf", ()):
        if "$ref" in option:
            schema = option
    if "$ref" not in schema:
        return "a JSON object"
    name = schema["$ref"].rpartition("/")[2]
    named = document["components"]["schemas"][name]
    required = set(named.get("required", ()))
    fields = [f"`{field}{'' if field in required else '?'}`" for field in named.get("properties", {})]
    meaning = " ".join(named.get("description", "").split())
    return f"{', '.join(fields) or 'no fields'}. {meaning}".strip()


def settings_page() -> str:
    """Every environment variable."""
    return "\n".join(
        [
            _NOTE,
            "# Settings",
            "",
            "Environment variables, read once at the start. An invalid value ends the command with the fault `wrong_setting`,",
            "which describes a valid one; an unknown name that begins with `CDP_` is logged as a warning.",
            "",
            "| name | meaning | default |",
            "|---|---|---|",
            *(f"| `{setting.name}` | {_cell(setting.meaning)} | {_cell(setting.default)} |" for setting in SETTINGS),
            "",
            "## Contents of `CDP_HOME`",
            "",
            "| file or folder | content | consequence of losing it |",
            "|---|---|---|",
            *(f"| `{file.name}` | {_cell(file.content)} | {_cell(file.loss)} |" for file in FILES),
            "",
            "The state store (`CDP_STATE_URL`) has the same files, without the master key, the admin token and the database. A file that is",
            "being written has the name `.NAME.` and 16 hexadecimal digits; one that a killed process left is overwritten and deleted at the",
            "next start, and by the hourly sweep.",
            "",
        ]
    )


class FaultSite(NamedTuple):
    """A fault as the code raises it."""

    code: str
    title: str
    status: int


def errors_page(folder: Path) -> str:
    """Every fault that the code can raise, by code."""
    lines = [
        _NOTE,
        "# Error codes",
        "",
        "A fault has a stable `code`. Over HTTP it is a problem document with this status; commands print it on standard error",
        "and end with the exit code. HTTP clients see status 500 only as `internal_error` with the id of the incident, and with 503",
        "what happened to their request; the reason is in the log, and `cdp doctor` says what to do.",
        "",
        "| code | meaning | HTTP status | exit code |",
        "|---|---|---|---|",
    ]
    seen: dict[tuple[str, int], FaultSite] = {}
    for file in sorted(folder.rglob("*.py")):
        for site in faults_in(file.read_text(encoding="utf-8")):
            seen.setdefault((site.code, site.status), site)
    refusals = [FaultSite(f"request_{reason}", title, 409) for reason, (title, _) in REFUSALS.items()]
    refused = [FaultSite(code, title, status) for status, (code, title, _) in TITLES.items()]
    for site in (*refusals, *refused):
        seen.setdefault((site.code, site.status), site)
    lines += [
        f"| `{site.code}` | {_cell(site.title)} | {site.status} | {code_of(Fault(site.code, site.title, status=site.status))} |"
        for _, site in sorted(seen.items())
    ]
    return "\n".join(lines) + "\n"


def faults_in(source: str) -> Iterator[FaultSite]:
    """Every fault that a file raises, and every problem it returns, whose code and title are written there.

    What a title inserts is an ellipsis; a code that is one of two is both.
    """
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        values = [argument.value if isinstance(argument, ast.Constant) else None for argument in node.args]
        match node.func.id, values:
            case "Fault", [_, _, *_]:
                status = next((keyword.value.value for keyword in node.keywords if _is_status(keyword)), 400)  # type: ignore[attr-defined]
                codes, titles = _texts(node.args[0]), _texts(node.args[1])
                yield from (FaultSite(code, title, int(status)) for code in codes for title in titles[:1])
            case "ProblemResponse", [int(status), str(code), str(title), *_]:
                yield FaultSite(code, title, status)
            case _:
                pass


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression may be, as far as they are written there."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one), *_texts(other)]
        case ast.JoinedStr(values=[ast.Constant(), *_] as parts):
            return ["".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in parts)]
        case _:
            return []


def _is_status(keyword: ast.keyword) -> bool:
    return keyword.arg == "status" and isinstance(keyword.value, ast.Constant)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
