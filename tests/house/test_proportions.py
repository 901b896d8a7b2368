"""The proportions of the code: short files, functions and classes, few parameters by position, unique class names.

Numbers and rules change only with a decision record.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from statistics import median

import pytest

from tests.support.source_tree import Source, dotted, read, service

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70
CLASS_LINES_MAX = 200
PUBLIC_METHODS_MAX = 15
POSITIONAL_MAX = 3
TEXT_STYLE = {"execute"}
CORE_STYLE = {"execute_core", "all", "one_or_none", "scalar"}
OPENS_TRANSACTION = {"transaction", "at_one_instant"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines(source: Source) -> int:
    return source.text.count("\n")


def functions(source: Source) -> list[tuple[str, int]]:
    """Each function with its lines, decorators and docstring included."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append((f"{source.path}:{node.lineno} {node.name}", (node.end_lineno or first) - first + 1))
    return found


def large_classes(source: Source) -> list[str]:
    """Classes with too many lines or public methods."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            methods = sum(isinstance(member, Function) and not member.name.startswith("_") for member in node.body)
            if length > CLASS_LINES_MAX or methods > PUBLIC_METHODS_MAX:
                found.append(f"{source.path}:{node.lineno} {node.name}: {length} lines, {methods} public methods")
    return found


def repeated_class_names(sources: Iterable[Source]) -> dict[str, list[str]]:
    """Public classes of modules that share their name, with the files that define them."""
    paths: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                paths[node.name].append(source.path)
    return {name: files for name, files in paths.items() if len(files) > 1}


def positional_parameters(source: Source) -> list[str]:
    """Functions that accept more than three values by position.

    A reader of rows may: a private function that is only called as `f(*row)`, for columns that its query names.
    """
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, Function):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args)]
            count = len(names) - (names[:1] in (["self"], ["cls"]))
            if count > POSITIONAL_MAX and not is_row_reader(node, source):
                found.append(f"{source.path}:{node.lineno} {node.name}")
    return found


def is_row_reader(function: Function, source: Source) -> bool:
    calls = [
        node for node in ast.walk(source.tree) if isinstance(node, ast.Call) and dotted(node.func) == function.name
    ]
    return (
        function.name.startswith("_")
        and bool(calls)
        and all(len(call.args) == 1 and isinstance(call.args[0], ast.Starred) for call in calls)
    )


def mixed_flows(source: Source) -> list[str]:
    """Modules of flows that hold use cases, which open transactions, beside steps, which are given one."""
    if not source.path.startswith("cdp/flows/"):
        return []
    public = [node for node in source.tree.body if isinstance(node, Function) and not node.name.startswith("_")]
    steps = [node.name for node in public if is_step(node)]
    use_cases = [node.name for node in public if not is_step(node) and OPENS_TRANSACTION & called_methods(node)]
    if steps and use_cases:
        return [f"{source.path}: use cases {', '.join(use_cases)}; steps {', '.join(steps)}"]
    return []


def is_step(function: Function) -> bool:
    first = function.args.args[0].annotation if function.args.args else None
    return first is not None and ast.unparse(first) == "Transaction"


def called_methods(tree: ast.AST) -> set[str]:
    """The last part of the name of everything that is called."""
    return {dotted(node.func).rpartition(".")[2] for node in ast.walk(tree) if isinstance(node, ast.Call)}


def transaction_calls(source: Source) -> Iterator[str]:
    """The methods that a file calls on a transaction."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            receiver = dotted(node.func.value).rpartition(".")[2]
            if receiver in ("tx", "_tx"):
                yield node.func.attr


def mixed_sql(source: Source) -> list[str]:
    """Files that speak SQL both as text and as expressions of SQLAlchemy Core."""
    calls = set(transaction_calls(source))
    return [source.path] if calls & TEXT_STYLE and calls & CORE_STYLE else []


PER_FILE: list[Callable[[Source], list[str]]] = [large_classes, positional_parameters, mixed_flows, mixed_sql]


def test_no_file_is_longer_than_500_lines() -> None:
    assert [(source.path, lines(source)) for source in service() if lines(source) > FILE_LINES_MAX] == []


def test_no_function_is_longer_than_70_lines() -> None:
    every = [function for source in service() for function in functions(source)]
    assert [(name, length) for name, length in every if length > FUNCTION_LINES_MAX] == []


def test_most_functions_fit_on_a_third_of_a_page() -> None:
    lengths = sorted(length for source in service() for _name, length in functions(source))
    assert median(lengths) <= 15
    assert lengths[len(lengths) * 9 // 10] <= 35


def test_every_file_promises_something_in_its_first_lines() -> None:
    silent = [source.path for source in service() if source.text.strip() and ast.get_docstring(source.tree) is None]
    assert silent == []


@pytest.mark.parametrize("rule", PER_FILE, ids=lambda rule: rule.__name__)
def test_the_rule_holds_everywhere(rule: Callable[[Source], list[str]]) -> None:
    breaches = [finding for source in service() for finding in rule(source)]
    assert not breaches, "\n".join(breaches)


def test_no_public_class_name_occurs_twice() -> None:
    assert repeated_class_names(service()) == {}


METHODS = "\n".join(f"    def method_{number}(self) -> None: ..." for number in range(16))
LONG = "\n".join("    x = 1" for _ in range(200))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (large_classes, "cdp/consent/model.py", f"class A:\n{METHODS}"),
        (large_classes, "cdp/consent/model.py", f"class A:\n{LONG}"),
        (positional_parameters, "cdp/consent/model.py", "def f(a, b, c, d): ..."),
        (positional_parameters, "cdp/consent/model.py", "class A:\n    def f(self, a, b, c, d): ..."),
        (positional_parameters, "cdp/consent/model.py", "def _f(a, b, c, d): ...\n_f(1, 2, 3, 4)"),
        (
            mixed_flows,
            "cdp/flows/rights/x.py",
            "def step(tx: Transaction): ...\ndef use_case(context):\n    with context.database.transaction() as tx: ...",
        ),
        (
            mixed_flows,
            "cdp/flows/rights/x.py",
            "def step(tx: Transaction): ...\ndef use_case(context):\n    return at_one_instant(context.database, read)",
        ),
        (mixed_sql, "cdp/rights/store/x.py", "tx.execute('SELECT 1')\ntx.execute_core(insert(t))"),
        (mixed_sql, "cdp/rights/store/x.py", "self._tx.execute('SELECT 1')\nself._tx.scalar(select(t))"),
    ],
)
def test_a_breach_is_found(rule: Callable[[Source], list[str]], path: str, text: str) -> None:
    assert len(rule(read(path, text))) == 1


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (positional_parameters, "cdp/consent/model.py", "def f(a, b, c, *, d): ..."),
        (positional_parameters, "cdp/consent/model.py", "class A:\n    def f(self, a, b, c): ..."),
        (positional_parameters, "cdp/consent/model.py", "def _f(a, b, c, d): ...\n[_f(*row) for row in rows]"),
        (mixed_flows, "cdp/flows/rights/x.py", "def step(tx: Transaction): ...\ndef other(tx: Transaction): ..."),
        (mixed_flows, "cdp/rights/store/x.py", "def f(tx: Transaction): ...\ndef g(d):\n    with d.transaction(): ..."),
        (mixed_sql, "cdp/rights/store/x.py", "tx.execute('SELECT 1')\ntx.copy('t', [], [])"),
    ],
)
def test_what_is_allowed_passes(rule: Callable[[Source], list[str]], path: str, text: str) -> None:
    assert rule(read(path, text)) == []


def test_a_repeated_class_name_is_found() -> None:
    twice = [
        read("cdp/a.py", "class Step: ..."),
        read("cdp/b.py", "class Step: ..."),
        read("cdp/c.py", "class _Step: ..."),
    ]
    assert repeated_class_names(twice) == {"Step": ["cdp/a.py", "cdp/b.py"]}
