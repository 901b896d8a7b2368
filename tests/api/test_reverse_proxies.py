"""Limits per address behind real reverse proxies, configured as the documentation says: the client is counted, not the proxy.

Wrong write keys show whom the service counts: after a few of one client, the next is answered with 429, and the first of another with 401.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from cdp.postgres.server import EmbeddedPostgres
from cdp.serve import connections_of, hosts_of, proxy_options
from cdp.web.connections.attempts import WrongSecrets
from cdp.web.connections.protocol import protocol_with
from tests.support.reverse_proxies import PROGRAMS, by_default, documented, reverse_proxy
from tests.support.service import RunningService, config_of, served
from tests.support.waits import PATIENCE_SECONDS

OUTER_HOP = "127.0.0.9"
"""Trusted as the proxies are: what it sends names its own clients."""
BURST = 5
CONFIG = replace(
    config_of(Path("unused")),
    trusted_proxies=(ip_network("127.0.0.1"), ip_network(OUTER_HOP)),
    trusted_hosts=("cdp.example.com",),
)
_numbers = count(20)


@contextmanager
def behind_proxies(server: EmbeddedPostgres, template: str, **more: Any) -> Iterator[RunningService]:
    """A service wired as `cdp serve` is with these settings; wrong keys are forgiven too slowly to be noticed."""
    with served(
        server,
        template,
        http=protocol_with(connections_of(CONFIG)),
        hosts=hosts_of(CONFIG),
        wrong_secrets=WrongSecrets(burst=BURST, per_second=1e-6),
        **proxy_options(CONFIG),
        **more,
    ) as service:
        yield service


@pytest.fixture(scope="module")
def service(server: EmbeddedPostgres, template: str) -> Iterator[RunningService]:
    with behind_proxies(server, template) as service:
        yield service


@pytest.fixture
def address(service: RunningService) -> str:
    return address_of(service)


def address_of(service: RunningService) -> str:
    """host:port"""
    return service.url.removeprefix("http://")


@pytest.fixture(params=PROGRAMS)
def proxy(request: pytest.FixtureRequest, address: str, tmp_path: Path) -> Iterator[str]:
    """The address of each proxy, configured as documented."""
    with reverse_proxy(request.param, documented(request.param), to=address, folder=tmp_path) as proxy:
        yield proxy


def new_address() -> str:
    """An address of the loopback network that no other test sends from."""
    return f"127.0.1.{next(_numbers)}"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str

    @property
    def code(self) -> str:
        return str(json.loads(self.text)["code"])


def ask(to: str, source: str, *headers: tuple[str, str], path: str = "/v1/page", body: bytes = b"{}") -> Answer:
    """Send one request from an address; `GET` where there is no body."""
    host, _, port = to.rpartition(":")
    connection = HTTPConnection(host.strip("[]"), int(port), PATIENCE_SECONDS, (source, 0))
    with closing(connection):
        connection.putrequest("POST" if body else "GET", path, skip_host=any(name == "host" for name, _ in headers))
        for name, value in (("content-length", str(len(body))), *headers):
            connection.putheader(name, value)
        connection.endheaders()
        with suppress(OSError):  # the answer may come before all of it was read
            connection.send(body)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode())


def post(to: str, source: str, *headers: tuple[str, str], key: str = "wrong", body: bytes = b"{}") -> Answer:
    """Send a message from an address."""
    return ask(to, source, ("x-write-key", key), *headers, body=body)


def settings(to: str, key: str, host: str) -> Answer:
    """What browsers fetch, under a host."""
    return ask(to, "127.0.0.1", ("host", host), path=f"/v1/projects/{key}/settings", body=b"")


def is_exhausted(to: str, source: str, *headers: tuple[str, str]) -> bool:
    """Whether the client may send no more wrong keys."""
    status = post(to, source, *headers).status
    assert status in (401, 429)
    return status == 429


def exhaust(to: str, source: str, *headers: tuple[str, str]) -> None:
    """Send wrong keys until the client may send no more."""
    for _ in range(BURST + 1):
        if is_exhausted(to, source, *headers):
            return
    pytest.fail("no limit was reached")


def forwarded(value: str) -> tuple[str, str]:
    return ("x-forwarded-for", value)


def test_each_client_has_its_own_limit_and_cannot_choose_another(proxy: str, service: RunningService) -> None:
    greedy, honest = new_address(), new_address()
    exhaust(proxy, greedy)
    for forged in ("203.0.113.9", honest, "127.0.0.1", OUTER_HOP, "", "unknown", "203.0.113.1, 127.0.0.1"):
        assert is_exhausted(proxy, greedy, forwarded(forged)), forged
        assert is_exhausted(proxy, greedy, forwarded("203.0.113.9"), forwarded(forged)), forged
    assert is_exhausted(proxy, greedy, ("forwarded", "for=203.0.113.9"), ("x-real-ip", "203.0.113.9"))
    assert not is_exhausted(proxy, honest)
    page = b'{"userId": "ada"}'
    assert post(proxy, greedy, key=service.write_key, body=page).status == 200, "a right key is served"


def test_a_client_over_ipv6_is_not_one_over_ipv4(proxy: str) -> None:
    port = proxy.rpartition(":")[2]
    exhaust(f"[::1]:{port}", "::1")
    assert not is_exhausted(proxy, new_address())


def test_what_a_peer_says_that_is_no_proxy_counts_as_nothing(address: str) -> None:
    forger, victim = new_address(), new_address()
    for number in range(BURST):
        post(address, forger, forwarded(f"198.51.100.{number}"))
    assert is_exhausted(address, forger, forwarded("198.51.100.99"))
    exhaust(address, new_address(), forwarded(victim))
    assert not is_exhausted(address, victim)


def test_several_hops(address: str, tmp_path: Path) -> None:
    """Clients of HAProxy, whose requests go through nginx; both are trusted."""
    with reverse_proxy("nginx", documented("nginx"), to=address, folder=tmp_path) as inner:
        outer = documented("haproxy").replace("127.0.0.1:8000", f"127.0.0.1:8000 source {OUTER_HOP}")
        with reverse_proxy("haproxy", outer, to=inner, folder=tmp_path) as proxy:
            greedy, honest = new_address(), new_address()
            exhaust(proxy, greedy, forwarded("203.0.113.77"))
            assert is_exhausted(proxy, greedy)
            assert is_exhausted(address, OUTER_HOP, forwarded(greedy)), "it is the address that the outer hop saw"
            assert not is_exhausted(proxy, honest, forwarded(greedy))


@pytest.mark.parametrize("program", ["nginx", "haproxy"])
def test_a_proxy_that_sets_no_header_lets_clients_choose(program: str, address: str, tmp_path: Path) -> None:
    """Why the documentation says to trust only a proxy that does: cdp cannot know who wrote what a proxy passes on."""
    with reverse_proxy(program, by_default(program), to=address, folder=tmp_path) as proxy:
        chosen = new_address()
        exhaust(proxy, new_address(), forwarded(chosen))
        assert is_exhausted(proxy, new_address(), forwarded(chosen))
        assert not is_exhausted(proxy, new_address(), forwarded(new_address()))


def test_caddy_names_only_the_hop_before_it_unless_told_to_trust_it(address: str, tmp_path: Path) -> None:
    trusting = f"reverse_proxy 127.0.0.1:8000 {{\n trusted_proxies {OUTER_HOP}\n}}"
    for configuration, is_one in ((documented("caddy"), True), (trusting, False)):
        with reverse_proxy("caddy", configuration, to=address, folder=tmp_path / str(is_one)) as inner:
            greedy, honest = new_address(), new_address()
            exhaust(inner, OUTER_HOP, forwarded(greedy))
            assert is_exhausted(inner, OUTER_HOP, forwarded(honest)) is is_one


@pytest.mark.parametrize("name", ["2001:db8:%s::5", "[2001:db8:%s::5]", "[2001:db8:%s::5]:4711"])
def test_addresses_of_one_ipv6_network_are_one_client(name: str, address: str) -> None:
    network = f"{next(_numbers):x}"
    exhaust(address, OUTER_HOP, forwarded(name % network))
    assert is_exhausted(address, OUTER_HOP, forwarded(f"2001:db8:{network}::ffff:1"))
    assert not is_exhausted(address, OUTER_HOP, forwarded(f"2001:db8:{network}:1::5"))


def test_an_ipv4_address_is_the_same_client_however_it_is_written(address: str) -> None:
    exhaust(address, OUTER_HOP, forwarded("192.0.2.50"))
    for same in (
        "192.0.2.50:4711",
        "::ffff:192.0.2.50",
        " 192.0.2.50 ",
        "203.0.113.1,192.0.2.50",
        "192.0.2.50, 127.0.0.1",
    ):
        assert is_exhausted(address, OUTER_HOP, forwarded(same)), same


def test_values_that_are_no_addresses_are_one_client(address: str) -> None:
    odd = [
        "unknown",
        "_hidden",
        "999.1.1.1",
        "a b",
        "192.0.2.1:x",
        "[2001:db8::",
        "for=192.0.2.60",
        "\xff",
        "1" * 9_000,
    ]
    exhaust(address, OUTER_HOP, forwarded("unknown"))
    for value in odd:
        assert is_exhausted(address, OUTER_HOP, forwarded(value)), value
    assert not is_exhausted(address, OUTER_HOP, forwarded("192.0.2.60"))


def test_a_proxy_over_ipv4_is_trusted_by_a_service_that_listens_on_both(
    server: EmbeddedPostgres, template: str, tmp_path: Path
) -> None:
    with (
        behind_proxies(server, template, host="::") as service,
        reverse_proxy("nginx", documented("nginx"), to=address_of(service), folder=tmp_path) as proxy,
    ):
        exhaust(proxy, new_address())
        assert not is_exhausted(proxy, new_address())


def test_refusals_pass_through(proxy: str) -> None:
    """A refusal before the body was read reaches the client, and not an error of the proxy."""
    for size in (100_000, 450_000, 900_000):
        refused = post(proxy, new_address(), body=b" " * size)
        assert (refused.status, refused.code) == (401, "unknown_write_key"), size


def test_the_host_and_the_scheme_of_browsers_arrive(proxy: str, service: RunningService) -> None:
    named = json.loads(settings(proxy, service.write_key, "cdp.example.com").text)["integrations"]["Segment.io"]
    assert (named["apiHost"], named["protocol"]) == ("cdp.example.com/v1", "http")


@pytest.mark.parametrize("program", PROGRAMS)
def test_settings_never_send_browsers_to_their_own_machine(
    program: str, service: RunningService, tmp_path: Path
) -> None:
    """nginx by default calls the service by the address at which it reaches it: to a browser that is another machine."""
    address, key = address_of(service), service.write_key
    with reverse_proxy(program, by_default(program), to=address, folder=tmp_path) as proxy:
        for host in ("cdp.example.com", "localhost:8000"):
            answer = settings(proxy, key, host)
            assert answer.status in (200, 421)
            assert "127.0.0.1" not in answer.text
            assert "localhost" not in answer.text


def test_the_proxy_protocol_is_not_read(address: str, tmp_path: Path) -> None:
    """It is refused as what it is to an HTTP server, and names no client."""
    configuration = by_default("haproxy").replace("127.0.0.1:8000", "127.0.0.1:8000 send-proxy")
    with reverse_proxy("haproxy", configuration, to=address, folder=tmp_path) as proxy:
        refused = post(proxy, new_address())
    assert (refused.status, refused.code) == (400, "malformed_request")
