"""What every command shares: exit codes, faults, pairs, examples."""

import json
from collections.abc import Iterator

import click
import pytest

from cdp.cli.command import FAILED, INVALID, NOT_POSSIBLE, PAIR, code_of, command, run
from cdp.cli.main import COMMANDS, cdp
from cdp.cli.screen import Screen, cell_text, plain
from cdp.kit.errors import Fault


def leaves(found: click.Command, path: str = "cdp") -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, with its full name."""
    if not isinstance(found, click.Group):
        yield path, found
        return
    context = click.Context(found)
    for name in found.list_commands(context):
        inner = found.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, f"{path} {name}")


EVERY = dict(leaves(cdp))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, INVALID),
        (422, INVALID),
        (403, NOT_POSSIBLE),
        (404, NOT_POSSIBLE),
        (409, NOT_POSSIBLE),
        (410, NOT_POSSIBLE),
        (500, FAILED),
        (503, FAILED),
        (429, FAILED),
    ],
)
def test_a_fault_ends_with_the_documented_code(status: int, code: int) -> None:
    assert code_of(Fault("x", "X", status=status)) == code


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_examples_and_answers_machines(name: str) -> None:
    found = EVERY[name]
    assert "Examples:" in (found.help or ""), name
    assert f"{name}" in (found.help or ""), "the examples show the command itself"
    assert any("--json" in param.opts for param in found.params)
    assert all(param.help for param in found.params if isinstance(param, click.Option) and param.name == "is_json")


def test_the_list_of_commands_names_each_once_and_fits_a_line() -> None:
    assert all(len(entry.help) <= 80 and not entry.help.endswith(".") for entry in COMMANDS.values())
    assert {name.split()[1] for name in EVERY} == set(COMMANDS)


def ended(arguments: list[str], function: object) -> int:
    """The exit code of a command that does this."""

    @click.command()
    @command("example")
    def one(screen: Screen) -> None:
        """Do it."""
        assert callable(function)
        function(screen)

    with pytest.raises(SystemExit) as end:
        run(one, arguments)
    return int(end.value.code or 0)


def raising(error: Exception) -> object:
    def fail(_screen: Screen) -> None:
        raise error

    return fail


def test_an_answer_is_json_or_for_people_and_never_both(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(screen: Screen) -> None:
        screen.result({"count": 3})
        screen.line("three [bold]things[/bold]")
        screen.table(["name", "count"], [("[red]x", 1_000)])

    assert ended([], answer) == 0
    assert capsys.readouterr().out.split() == ["three", "[bold]things[/bold]", "name", "count", "[red]x", "1,000"]
    assert ended(["--json"], answer) == 0
    assert json.loads(capsys.readouterr().out) == {"count": 3}


def test_a_fault_is_told_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    fault = Fault("not_so", "It is not so", "Make it so.", status=404, extra={"position": 3})
    assert ended([], raising(fault)) == NOT_POSSIBLE
    output = capsys.readouterr()
    assert (output.out, output.err.splitlines()) == ("", ["not_so: It is not so", "Make it so."])
    assert ended(["--json"], raising(fault)) == NOT_POSSIBLE
    assert json.loads(capsys.readouterr().err) == {
        "code": "not_so", "title": "It is not so", "detail": "Make it so.", "position": 3,
    }  # fmt: skip


def test_what_should_not_happen_is_told_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([], raising(RuntimeError("ada@example.com"))) == FAILED
    output = capsys.readouterr().err
    assert "internal_error" in output
    assert "RuntimeError" in output
    assert "ada@" not in output


def test_an_interrupt_ends_with_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([], raising(KeyboardInterrupt())) == 130  # type: ignore[arg-type]
    assert ended(["--no-such-option"], raising(RuntimeError())) == INVALID
    assert "No such option" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "pair"),
    [("email:ada@example.com", ("email", "ada@example.com")), ("user_id:a:b", ("user_id", "a:b"))],
)
def test_an_identifier_is_a_type_and_a_value(text: str, pair: tuple[str, str]) -> None:
    assert PAIR.convert(text, None, None) == pair


@pytest.mark.parametrize("text", ["ada@example.com", ":x", "email:", ""])
def test_half_an_identifier_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        PAIR.convert(text, None, None)


def test_values_are_written_for_people_and_for_machines() -> None:
    assert [cell_text(each) for each in (None, True, 12_345, "x", 1.5)] == ["-", "yes", "12,345", "x", "1.5"]
    assert plain({"a": (1, b"\x01"), "b": {"c": {2}}}) == {"a": [1, "01"], "b": {"c": [2]}}
