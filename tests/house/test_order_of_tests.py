"""Tests have one order: what `parametrize` is given must not come from a set, whose order differs from process to process.

Parallel runs compare what each process collected, and refuse to run ("different tests were collected") where it differs.
"""

import ast
from collections.abc import Iterator

import pytest

from tests.support.source_tree import Source, dotted, read, service, written_tests

ORDERING = {"sorted", "len", "sum", "min", "max", "any", "all"}
"""What gives the same result whatever the order."""
SETS = {"set", "frozenset"}
OF_SETS = {"union", "intersection", "difference", "symmetric_difference"}
KEYS = {"keys", "items", "values"}


def set_names(sources: tuple[Source, ...]) -> dict[str, set[str]]:
    """The names that modules define as sets, by module."""
    names: dict[str, set[str]] = {}
    for source in sources:
        module = source.path.removesuffix(".py").replace("/", ".")
        found: set[str] = set()
        for node in source.tree.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                is_set = node.value is not None and is_unordered(node.value, found)
                if is_set or {"set", "frozenset", "AbstractSet"} & words(node.annotation):
                    found.add(node.target.id)
            elif isinstance(node, ast.Assign) and is_unordered(node.value, found):
                found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.FunctionDef) and returned_set(node):
                found.add(node.name)
        names[module] = found
    return names


def words(annotation: ast.expr) -> set[str]:
    """The outermost type of an annotation, that of `Final[...]` for a constant."""
    outer = annotation.value if isinstance(annotation, ast.Subscript) else annotation
    name = dotted(outer).rpartition(".")[2]
    if name == "Final" and isinstance(annotation, ast.Subscript):
        return words(annotation.slice)
    return {name}


def returned_set(function: ast.FunctionDef) -> bool:
    return function.returns is not None and bool({"set", "frozenset"} & words(function.returns))


def is_unordered(node: ast.expr, sets: set[str]) -> bool:
    """Whether the order of an expression is that of a set, as far as its text tells."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Name() | ast.Attribute():
            return dotted(node) in sets
        case ast.Call(func=function):
            name = dotted(function).rpartition(".")[2]
            if name in ORDERING:
                return False
            if name in SETS | OF_SETS or dotted(function) in sets:
                return True
            inner = [*node.args, *([function.value] if isinstance(function, ast.Attribute) else [])]
            return any(is_unordered(one, sets) for one in inner)
        case ast.BinOp(left=left, right=right, op=op):
            is_of_sets = isinstance(op, ast.Sub | ast.BitAnd | ast.BitXor | ast.BitOr)
            return is_unordered(left, sets) or is_unordered(right, sets) or (is_of_sets and is_keys(left, right))
        case ast.ListComp(generators=generators) | ast.GeneratorExp(generators=generators):
            return any(is_unordered(one.iter, sets) for one in generators)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return any(isinstance(one, ast.Starred) and is_unordered(one.value, sets) for one in elements)
        case ast.DictComp(generators=generators):
            return any(is_unordered(one.iter, sets) for one in generators)
        case _:
            return False


def is_keys(*operands: ast.expr) -> bool:
    """Whether one is a view of a dictionary: operations on these give sets."""
    return any(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in KEYS for one in operands
    )


def imported_sets(source: Source, names: dict[str, set[str]]) -> set[str]:
    """The sets that a file can name: its own, and those that it imports."""
    found = set(names.get(source.path.removesuffix(".py").replace("/", "."), set()))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                if alias.name in names.get(node.module, set()):
                    found.add(alias.asname or alias.name)
                module = f"{node.module}.{alias.name}"
                found |= {f"{alias.asname or alias.name}.{name}" for name in names.get(module, set())}
    return found


def unordered(source: Source, names: dict[str, set[str]]) -> Iterator[str]:
    """The values of `parametrize` and of fixtures that have no order of their own, with their lines."""
    sets = imported_sets(source, names)
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func).rpartition(".")[2]
        values = node.args[1:2] if name == "parametrize" else []
        wanted = {"parametrize": {"argvalues", "ids"}, "fixture": {"params", "ids"}}.get(name, set())
        values = [*values, *(keyword.value for keyword in node.keywords if keyword.arg in wanted)]
        yield from (f"{source.path}:{value.lineno}" for value in values if is_unordered(value, sets))


def test_parameters_of_tests_have_an_order() -> None:
    sources = (*service(), *written_tests())
    names = set_names(sources)
    assert [place for source in written_tests() for place in unordered(source, names)] == []


PLANTED = """
import pytest
from cdp.rules import KINDS, NAMED, ordered, found
from cdp import rules
TABLE = {"a": 1}
OWN = frozenset(TABLE)
@pytest.mark.parametrize("value", %s)
def test_it(value): ...
"""
RULES = read(
    "cdp/rules.py",
    "KINDS: Final = frozenset({'a'})\nNAMED: Final[frozenset[str]] = of()\nordered = ('a', 'b')\n"
    "def found() -> set[str]: ...\n",
)


@pytest.mark.parametrize(
    "values",
    [
        "{'a', 'b'}", "{x for x in 'ab'}", "set(ordered)", "frozenset('ab')", "list({'a', 'b'})", "tuple(set('ab'))", "KINDS", "NAMED",
        "rules.KINDS", "OWN", "[*KINDS]", "[*ordered, *KINDS]", "[x for x in KINDS]", "(x for x in set('ab'))", "list(enumerate(KINDS))",
        "KINDS | {'b'}", "TABLE.keys() - {'b'}", "{'a'} & TABLE.keys()", "KINDS.union('b')", "found()", "list(found())", "zip(KINDS, ordered)",
        "reversed(list(KINDS))", "[(x, y) for x in ordered for y in KINDS]", "dict.fromkeys(KINDS)", "{x: 1 for x in KINDS}.items()",
    ],
)  # fmt: skip
def test_a_set_is_found(values: str) -> None:
    planted = read("tests/unit/test_it.py", PLANTED % values)
    assert list(unordered(planted, set_names((RULES, planted)))) == ["tests/unit/test_it.py:7"]


@pytest.mark.parametrize(
    "values",
    ["sorted({'a', 'b'})", "sorted(KINDS)", "ordered", "['a', 'b']", "TABLE", "TABLE.items()", "list(TABLE)", "range(len(KINDS))",
     "[x for x in ordered if x in KINDS]", "sorted(TABLE.keys() - KINDS)", "[*sorted(KINDS), 'c']", "[{'a', 'b'}, {'c'}]", "[(KINDS, 1)]"],
)  # fmt: skip
def test_what_has_an_order_is_allowed(values: str) -> None:
    planted = read("tests/unit/test_it.py", PLANTED % values)
    assert list(unordered(planted, set_names((RULES, planted)))) == []


def test_parameters_of_fixtures_are_checked() -> None:
    planted = read("tests/unit/test_it.py", "import pytest\n@pytest.fixture(params={1, 2})\ndef it(request): ...\n")
    assert list(unordered(planted, {})) == ["tests/unit/test_it.py:2"]
