"""The OpenAPI document is exact: whatever a client makes of it is answered as it says, and never with 500."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from cdp.kit.db import Database
from cdp.postgres.server import EmbeddedPostgres
from cdp.web.app import describe, openapi_of
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.platform.errors import PROBLEM_TYPE
from tests.api.test_roles import PUBLIC, TABLE
from tests.support.databases import temporary_database
from tests.support.folders import FOLDERS, PREFIX
from tests.support.policies import shipped
from tests.support.service import RunningService, serve_application
from tests.support.waits import PATIENCE_SECONDS

ROLE_OF = {(method, path): sorted(roles)[-1] for method, path, _, roles in TABLE}
EXAMPLES = 5
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]


SCHEMA = schemathesis.openapi.from_dict(openapi_of(describe()))


def described() -> Iterator[APIOperation[Any, Any, Any, Any]]:
    """Every operation of the document; none of them may be invalid."""
    for result in SCHEMA.get_all_operations():
        assert isinstance(result, Ok)
        yield result.ok()


OPERATIONS = {f"{operation.method.upper()} {operation.path}": operation for operation in described()}


@pytest.fixture(scope="module")
def lived_in(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    """A service that contains a person, so that answers are not all empty, and that bears very many wrong tokens."""
    with temporary_database(server, template) as url, tempfile.TemporaryDirectory(prefix=PREFIX, dir=FOLDERS) as home:
        database = Database(url)
        patient = WrongSecrets(burst=1_000_000)
        try:
            with serve_application(database, Path(home), shipped(), wrong_secrets=patient) as service:
                service.add_person("ada@example.com", "ada", country="DE")
                service.sign()
                yield service
        finally:
            database.close()


def can_be_wrong(operation: Any) -> bool:
    """Whether there is anything in a request that a client could get wrong, beside a path, which is then another one."""
    return bool(operation.body) or bool(operation.query)


ASKED = [(name, GenerationMode.POSITIVE) for name in OPERATIONS] + [
    (name, GenerationMode.NEGATIVE) for name, operation in OPERATIONS.items() if can_be_wrong(operation)
]


@pytest.mark.parametrize(("name", "mode"), ASKED, ids=[f"{name} {mode.value}" for name, mode in ASKED])
def test_the_service_answers_as_the_document_says(lived_in: RunningService, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    headers = {}
    if operation.path not in PUBLIC:
        role = ROLE_OF[operation.method.upper(), operation.path]
        headers["Authorization"] = f"Bearer {lived_in.tokens[role]}"

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any) -> None:
        case.call_and_validate(base_url=lived_in.url, headers=headers, checks=CHECKS, timeout=PATIENCE_SECONDS)

    holds()


def test_every_refusal_is_documented_as_a_problem() -> None:
    document = openapi_of(describe())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert list(answer["content"]) == [PROBLEM_TYPE], (method, path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["Problem"]["required"]) == {
        "type",
        "title",
        "status",
        "detail",
        "code",
    }


def test_no_identifier_can_travel_in_a_url() -> None:
    document = openapi_of(describe())
    names = {
        parameter["name"]
        for operations in document["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
    }
    assert names == {
        "request_id", "status", "limit", "name", "token_id", "source", "from", "to", "kind", "before", "path", "key",
        "cursor", "draft",
    }  # fmt: skip
