"""Clients: they send what is planned over HTTP, to one service or the other, and record what they were answered."""

import base64
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import httpx

from tests.support import messages
from tests.support.faults.generator import Planned
from tests.support.faults.history import Act, History, Kind, Outcome
from tests.support.waits import PATIENCE_SECONDS

_PAUSE_SECONDS: Final = 0.05
"""Before a client sends again what failed."""
_PASSING: Final = (0, 429, 503)
"""What tells a client to ask later; 0 is no answer."""
_HEAD_PATH: Final = "/audit/log/checkpoint"


class Target(Protocol):
    """A service that may be down."""

    @property
    def name(self) -> str: ...
    @property
    def url(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Secrets:
    """The write keys of sources, and the tokens of roles."""

    keys: Mapping[str, str]
    tokens: Mapping[str, str]


@dataclass(slots=True)
class Answer:
    """What a service answered; `content` is None if that is not JSON."""

    outcome: Outcome
    service: str
    status: int = 0
    content: Any = None
    text: str = ""


@dataclass(slots=True)
class Client:
    """One client: it does one act after another, and takes turns between the services."""

    history: History
    targets: Sequence[Target]
    secrets: Secrets
    round: int
    stop: threading.Event
    lags: threading.Event
    """Set while the clock is behind instants at which acts were recorded."""
    _turn: int = 0
    _http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=PATIENCE_SECONDS))

    def run(self, planned: Iterable[Planned]) -> None:
        """Do what is planned until told to stop. An erasure that was begun is completed first."""
        with self._http:
            for one in planned:
                if self.stop.is_set():
                    return
                self.do(one)

    def do(self, planned: Planned) -> None:
        """Do one act, and record it."""
        match planned.kind:
            case Kind.SEND | Kind.SIGNAL:
                self._send(planned)
            case Kind.CONSENT:
                self._consent(planned)
            case Kind.VERDICT:
                self._verdict(planned)
            case Kind.ERASE:
                self._erase(planned)
            case Kind.MEMBERS:
                act = self._begun(planned)
                answer = self._request("GET", "/api/v1/segments/buyers/members", role="marketer")
                self._record(act, answer)
            case _:
                self._head(planned)

    def _send(self, planned: Planned) -> None:
        body = messages.batch(*_bodies(planned))
        once_more = planned.sends_twice
        while True:
            act = self._begun(planned)
            answer = self._request("POST", "/v1/batch", key=planned.source, json=body)
            self._record(act, answer)
            if answer.outcome is Outcome.ACKNOWLEDGED and once_more:
                once_more = False
                continue
            if answer.outcome is Outcome.ACKNOWLEDGED or not planned.repeats or self.stop.is_set():
                return
            time.sleep(_PAUSE_SECONDS)

    def _consent(self, planned: Planned) -> None:
        act = self._begun(planned)
        body = {
            "identifier": _identifier(planned.subject),
            "purpose": planned.purpose,
            "act": "grant" if planned.choice else "withdraw",
            "authority": "authenticated",
        }
        answer = self._request("POST", "/api/v1/consents", key=planned.source, json=body)
        record = answer.content["record"] if answer.outcome is Outcome.ACKNOWLEDGED else ""
        self._record(replace(act, record=record), answer)

    def _verdict(self, planned: Planned) -> None:
        act = self._begun(replace(planned, choice=False))
        body = {"identifier": _identifier(planned.subject)}
        answer = self._request("POST", "/api/v1/consents/lookup", role="privacy", json=body)
        choice = None
        if answer.outcome is Outcome.ACKNOWLEDGED:
            choice = bool(answer.content["verdicts"][planned.purpose]["allowed"])
        self._record(replace(act, choice=choice), answer)

    def _head(self, planned: Planned) -> None:
        act = self._begun(planned)
        answer = self._request("GET", _HEAD_PATH)
        head = None
        if answer.outcome is Outcome.ACKNOWLEDGED:
            _, size, root, *_ = answer.text.split("\n")
            head = (int(size), base64.b64decode(root).hex())
        self._record(replace(act, head=head), answer)

    def _erase(self, planned: Planned) -> None:
        """Send a person's messages, erase the person, and send one more, which must not be stored.

        Each step is repeated until it is acknowledged: a request that is open is carried on by whom it was opened.
        """
        before = replace(planned, kind=Kind.SEND, messages=planned.messages[:-1])
        self._send(replace(before, repeats=True))
        act = self._begun(replace(planned, messages=()))
        body = {"kind": "erasure", "regime": "gdpr", "identifiers": [_identifier(planned.subject)]}
        opened = self.insist("POST", "/api/v1/subject-requests", role="privacy", json=body)
        path = f"/api/v1/subject-requests/{opened.content['id']}"
        for step in ("verify", "run"):  # 409: the step was taken, and its answer lost
            done = self.insist("POST", f"{path}/{step}", role="privacy", json={})
            if done.status not in (200, 409):
                self._record(act, done)
                return
        shown = self.insist("GET", path, role="privacy")
        is_fulfilled = shown.status == 200 and shown.content["status"] == "fulfilled"
        outcome = Outcome.ACKNOWLEDGED if is_fulfilled else Outcome.UNKNOWN
        self._record(replace(act, record=str(opened.content["id"])), replace(shown, outcome=outcome))
        self._send(replace(planned, kind=Kind.SEND, messages=planned.messages[-1:]))

    def insist(self, method: str, path: str, *, role: str, json: Any = None) -> Answer:
        """Ask until the answer is neither a failure nor lost."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = self._request(method, path, role=role, json=json)
            if answer.status not in _PASSING:
                return answer
            assert time.monotonic() < deadline, f"{path} was never answered: {answer.status} {answer.text}"
            time.sleep(_PAUSE_SECONDS)

    def _request(self, method: str, path: str, *, key: str = "", role: str = "", json: Any = None) -> Answer:
        """One request to the service whose turn it is. Without a connection nothing was sent, so nothing happened."""
        self._turn += 1
        target = self.targets[self._turn % len(self.targets)]
        url = target.url
        if url is None:
            time.sleep(_PAUSE_SECONDS)
            return Answer(Outcome.REFUSED, target.name)
        headers = {"Authorization": f"Bearer {self.secrets.tokens[role]}"} if role else {}
        if key:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{self.secrets.keys[key]}:".encode()).decode()
        try:
            answer = self._http.request(method, url + path, headers=headers, json=json)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            time.sleep(_PAUSE_SECONDS)
            return Answer(Outcome.REFUSED, target.name)
        except httpx.HTTPError:
            return Answer(Outcome.UNKNOWN, target.name)
        is_json = "json" in answer.headers.get("content-type", "")
        return Answer(
            _outcome(answer.status_code),
            target.name,
            answer.status_code,
            answer.json() if is_json else None,
            answer.text,
        )

    def _begun(self, planned: Planned) -> Act:
        return Act(
            self.history.begin(),
            self.round,
            planned.kind,
            planned.subject,
            Outcome.UNKNOWN,
            source=planned.source,
            messages=planned.messages,
            is_order=planned.is_order,
            purpose=planned.purpose,
            choice=planned.choice if planned.kind in (Kind.CONSENT, Kind.SIGNAL) else None,
            lags=self.lags.is_set(),
        )

    def _record(self, act: Act, answer: Answer) -> None:
        lags = act.lags or self.lags.is_set()
        self.history.record(
            replace(act, outcome=answer.outcome, status=answer.status, service=answer.service, lags=lags)
        )


def _outcome(status: int) -> Outcome:
    """A failure may have come after the commit; every other answer that is not a success says that nothing was done."""
    if status < 300:
        return Outcome.ACKNOWLEDGED
    return Outcome.UNKNOWN if status >= 500 else Outcome.REFUSED


def _identifier(subject: str) -> dict[str, str]:
    return {"type": "user_id", "value": subject}


def _bodies(planned: Planned) -> list[dict[str, Any]]:
    """The messages of an act: every other one of a person comes from one of two devices."""
    bodies = []
    for index, name in enumerate(planned.messages):
        fields: dict[str, Any] = {"messageId": name, "userId": planned.subject, "properties": {"revenue": 1}}
        if index % 2 and not planned.is_order:
            fields["anonymousId"] = f"device-{planned.subject}-{sum(name.encode()) % 2}"
        if planned.kind is Kind.SIGNAL:
            fields["context"] = messages.consent_context(**{planned.purpose: False})
        bodies.append(messages.order(**fields) if planned.is_order else messages.track(**fields))
    return bodies
