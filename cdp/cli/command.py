"""What every command shares: settings, the context, --json, exit codes, and examples in the help.

Exit codes: 0 success; 1 an error, or a check that failed; 2 the command or a value in it is invalid; 3 not found, or not
possible in the current state; 130 interrupted.
"""

import functools
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, TypeVar

import click

from cdp.cli.screen import Screen, is_terminal, print_error
from cdp.kit.config import Config, read_config
from cdp.kit.errors import Fault
from cdp.kit.logs import Style, describe, start_logging
from cdp.postgres.place import write_private

if TYPE_CHECKING:
    from cdp.flows.context import Context
    from cdp.identity.model import Identifier

P = ParamSpec("P")
R = TypeVar("R")

DONE: Final = 0
FAILED: Final = 1
INVALID: Final = 2
NOT_POSSIBLE: Final = 3
INTERRUPTED: Final = 130
_INVALID_STATUSES: Final = frozenset({400, 422})
_NOT_POSSIBLE_STATUSES: Final = frozenset({403, 404, 409, 410})

_SETTINGS: Final = "cdp.settings"

EXIT_CODES: Final = (
    (DONE, "success"),
    (FAILED, "an error, or a check that failed"),
    (INVALID, "the command, or a value in it, is invalid"),
    (NOT_POSSIBLE, "not found, or not possible in the current state"),
    (INTERRUPTED, "interrupted"),
)


class Pair(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """TYPE:VALUE, such as email:ada@example.com."""

    name = "TYPE:VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a pair; a value without a colon is a usage error."""
        if isinstance(value, tuple):
            return value
        type_, colon, rest = str(value).partition(":")
        if not colon or not type_ or not rest:
            self.fail("give an identifier as TYPE:VALUE, such as email:ada@example.com", param, ctx)
        return type_, rest


PAIR: Final = Pair()


class PairOfTrait(click.ParamType):  # type: ignore[type-arg] # generic in click 8.5 only
    """TRAIT=VALUE, such as city=Lyon; a value that is JSON is read as such, so that age=37 is a number."""

    name = "TRAIT=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a pair; a value without an equals sign is a usage error."""
        if isinstance(value, tuple):
            return value
        name, sign, text = str(value).partition("=")
        if not sign or not name:
            self.fail("give a trait as TRAIT=VALUE, such as city=Lyon", param, ctx)
        try:
            return name, json.loads(text)
        except ValueError:
            return name, text


PAIR_OF_TRAIT: Final = PairOfTrait()


def command(*examples: str) -> Callable[[Callable[P, R]], Callable[..., R]]:
    """Add the option --json, a `screen`, and examples below the help."""

    def wrap(function: Callable[P, R]) -> Callable[..., R]:
        @functools.wraps(function)
        def run(*args: Any, is_json: bool, **values: Any) -> R:
            return function(*args, screen=Screen(is_json=is_json), **values)  # type: ignore[arg-type]

        listed = "\n".join(f"  {example}" for example in examples)
        run.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nExamples:\n{listed}\n"
        return click.option("--json", "is_json", is_flag=True, help="Print the result as JSON.")(run)

    return wrap


def settings(style: Style = "console") -> Config:
    """The settings of the environment, read once for each command; an unknown one is logged to standard error."""
    known = click.get_current_context().meta
    if _SETTINGS not in known:
        start_logging("warning", style=style)
        known[_SETTINGS] = read_config(os.environ)
    config: Config = known[_SETTINGS]
    return config


@contextmanager
def open_context(*, accepts_loss: bool = False) -> Iterator["Context"]:
    """The context for one command; only errors are logged unless CDP_LOG_LEVEL is set.

    `accepts_loss` binds the database to the state store of this command, whatever that lacks.
    """
    from cdp.flows.operations.startup import open_for_command

    config = settings()
    quiet_logging(config)
    with open_for_command(config, accepts_loss=accepts_loss) as context:
        if context.notice is not None:
            print_error(f"!! {context.notice}")
        yield context


def quiet_logging(config: Config) -> None:
    """Log only errors, unless CDP_LOG_LEVEL is set."""
    start_logging(config.log_level if os.environ.get("CDP_LOG_LEVEL") else "error", style="console")


def identifier_of(context: "Context", pair: tuple[str, str]) -> "Identifier":
    """Normalize an identifier that was typed."""
    from cdp.flows.identifiers import read_identifier

    return read_identifier(context.policy, *pair)


def run(group: click.Command, arguments: list[str]) -> NoReturn:
    """Run a command line and end the process with its exit code."""
    try:
        result = group.main(args=arguments, prog_name="cdp", standalone_mode=False)
        code = result if isinstance(result, int) else DONE
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except click.exceptions.Abort:
        code = INTERRUPTED
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output closed it; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Fault as fault:
        show_fault(fault, is_json="--json" in arguments)
        code = code_of(fault)
    except Exception as error:  # noqa: BLE001 - a traceback could contain personal data
        unexpected = _database_fault(error)
        if unexpected is None:
            show_unexpected(error)
        else:
            show_fault(unexpected, is_json="--json" in arguments)
        code = FAILED
    sys.exit(code)


def show_unexpected(error: Exception) -> None:
    """Print where an unexpected error occurred, without any data."""
    result = describe(error)
    print_error(f"internal_error: Internal error in cdp ({result['error']}).")
    for place in result["where"] if isinstance(result["where"], list) else ():
        print_error(f"  {place}")


def code_of(fault: Fault) -> int:
    """The exit code for a fault."""
    if fault.status in _INVALID_STATUSES:
        return INVALID
    return NOT_POSSIBLE if fault.status in _NOT_POSSIBLE_STATUSES else FAILED


def show_fault(fault: Fault, *, is_json: bool) -> None:
    """Print a fault on standard error."""
    message = _database_message(fault)
    if is_json:
        document = {**fault.extra, "code": fault.code, "title": fault.title, "detail": fault.detail}
        if message is not None:
            document["database_message"] = message
        print_error(json.dumps(document, ensure_ascii=False, default=str))
        return
    mark = click.style(fault.code, fg="red", bold=True) if is_terminal() else fault.code
    print_error(f"{mark}: {fault.title}")
    if fault.detail:
        print_error(fault.detail)
    if message is not None:
        print_error(f"The database's message: {message}")


def _database_fault(error: Exception) -> Fault | None:
    """The fault for an error of the database that has none of its own."""
    from cdp.kit.db_faults import unexpected_fault

    return unexpected_fault(error)


def _database_message(fault: Fault) -> str | None:
    if fault.__cause__ is None:
        return None
    from cdp.kit.db_faults import database_message

    return database_message(fault)


def write_out(out: Path, content: bytes) -> None:
    """Write a file that only its owner may read. Raises the fault `not_writable`."""
    try:
        write_private(out, content)
    except OSError as error:
        raise Fault(
            "not_writable",
            "The file cannot be written",
            f"{out}: {error.strerror}. Choose a file in an existing folder that you may write to.",
            status=422,
        ) from error
