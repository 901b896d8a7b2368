"""The proportions of the house: short files, short functions, a promise at the head of each file."""

import ast
from statistics import median

from tests.support.source_tree import Source, service

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70


def lines(source: Source) -> int:
    return source.text.count("\n")


def functions(source: Source) -> list[tuple[str, int]]:
    """Each function with its lines, decorators and docstring included."""
    found = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            found.append((f"{source.path}:{node.lineno} {node.name}", (node.end_lineno or first) - first + 1))
    return found


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
