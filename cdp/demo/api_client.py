"""A client of the service's API: over HTTP, with a token for each role."""

import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import httpx

from cdp.kit.errors import Fault

_SECONDS: Final = 60.0


class ApiClient:
    """The API of a running service. `tokens` are by role; each call names the role that it uses."""

    def __init__(self, url: str, tokens: Mapping[str, str]) -> None:
        self.url = url
        self.tokens = dict(tokens)
        self._http = httpx.Client(base_url=url, timeout=_SECONDS, trust_env=False)

    def get(self, role: str, path: str, **params: str) -> Any:
        """The JSON of a response."""
        return self._request("GET", role, path, params=params).json()

    def post(self, role: str, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of the response to a body."""
        return self._request("POST", role, path, json=body).json()

    def withdraw(self, write_key: str, email: str, purpose: str, *, at: datetime) -> None:
        """Record a withdrawal of consent, as the account page of a shop does: with the write key of its source."""
        body = {
            "identifier": {"type": "email", "value": email},
            "purpose": purpose,
            "act": "withdraw",
            "occurred_at": at.isoformat(),
        }
        self._checked("POST", "/api/v1/consents", json=body, auth=(write_key, ""))

    def content(self, role: str, path: str) -> bytes:
        """The bytes of a response."""
        return self._request("GET", role, path).content

    def metric(self, name: str) -> int:
        """The value of a gauge without labels."""
        lines = self._request("GET", "admin", "/metrics").text.splitlines()
        return int(float(next(line.split()[-1] for line in lines if line.startswith(name + " "))))

    def receipt(self, request_id: str) -> dict[str, Any]:
        """The receipt of a request. Polls until the log is signed, which takes a second or two."""
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                found: dict[str, Any] = self.get("privacy", f"/api/v1/subject-requests/{request_id}/receipt")
            except Fault as fault:
                if fault.code != "receipt_not_ready" or time.monotonic() > deadline:
                    raise
                time.sleep(0.3)
            else:
                return found

    def is_ready(self) -> bool:
        """Whether the service is ready."""
        try:
            return self._http.get("/readyz").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _request(self, method: str, role: str, path: str, **values: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"}
        return self._checked(method, path, headers=headers, **values)

    def _checked(self, method: str, path: str, **values: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **values)
        except httpx.HTTPError as error:
            raise Fault(
                "no_service",
                "The service is not reachable",
                f"No usable response from {self.url} ({type(error).__name__}). Start it with `cdp serve`.",
                status=503,
            ) from error
        if answer.is_success:
            return answer
        raise _fault(answer)


def _fault(answer: httpx.Response) -> Fault:
    try:
        document = answer.json()
    except ValueError:
        document = {}
    return Fault(
        document.get("code", "unexpected_answer"),
        document.get("title", "The service returned an unexpected response"),
        document.get("detail", f"{answer.request.method} {answer.request.url.path} returned {answer.status_code}."),
        status=answer.status_code,
    )
