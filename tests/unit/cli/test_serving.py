"""`cdp serve` fills a database with the demonstration only when it was asked to, and never one that the user named."""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

import cdp.serve
from cdp.kit.config import Config
from tests.support.commands import Shell

URL = "postgresql://cdp:secret@db.example/cdp"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each start would show the demonstration; nothing is served."""
    starts: list[bool] = []

    def start(_config: Config, _say: Callable[[str], None], *, on_start: object) -> None:
        starts.append(on_start is not None)

    monkeypatch.setattr(cdp.serve, "serve", start)
    return starts


@pytest.mark.parametrize(
    ("options", "url", "is_shown"),
    [
        ([], None, False),
        (["--demo"], None, True),
        (["--no-demo"], None, False),
        (["--demo", "--no-demo"], None, False),
        (["--demo", "--json"], None, False),
        ([], URL, False),
        (["--demo"], URL, False),
        (["--no-demo"], URL, False),
    ],
)
def test_the_demonstration_is_shown_on_request_in_an_embedded_database(
    tmp_path: Path, shown: list[bool], *, options: list[str], url: str | None, is_shown: bool
) -> None:
    settings = {} if url is None else {"CDP_DATABASE_URL": url}
    printed = Shell(tmp_path, settings).run("serve", *options).stdout
    assert shown == [is_shown]
    assert ("--demo has no effect" in printed) == ("--demo" in options and url is not None)
    assert "secret" not in printed


def test_it_is_named_where_the_policies_are_the_shipped_ones(tmp_path: Path, shown: list[bool]) -> None:
    assert "shipped with cdp" in Shell(tmp_path).run("serve").stdout
    folder = tmp_path / "policies"
    Shell(tmp_path).run("init", str(folder))
    assert "shipped" not in Shell(tmp_path, {"CDP_POLICIES": str(folder)}).run("serve").stdout
    assert shown == [False, False]


@pytest.mark.parametrize("arguments", [["serve", "--demo"], ["demo"]])
def test_a_missing_sdk_is_reported_with_what_to_install(
    tmp_path: Path, shown: list[bool], monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setitem(sys.modules, "segment", None)
    for name in ("segment.analytics", "segment.analytics.client", "cdp.demo.send", "cdp.demo.run"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    failed = Shell(tmp_path).run(*arguments, code=1)
    assert "demo_not_installed" in failed.stderr
    assert "segment-analytics-python" in failed.stderr
    assert shown == []
    Shell(tmp_path).run("serve")
    assert shown == [False]
