"""Addresses of brokers: read strictly, and shown without what is secret."""

import pytest

from cdp.brokers.address import BrokerAddress, TlsFiles, parse_address
from cdp.kit.errors import Fault


def test_an_address_of_amqp() -> None:
    found = parse_address("amqps://ada:p%40ss@mq.example.com/shop%2Feu?cacertfile=/etc/ca.pem&heartbeat=5")
    assert (found.protocol, found.is_encrypted, found.hosts) == ("amqp", True, (("mq.example.com", 5671),))
    assert (found.name, found.password, found.virtual_host, found.heartbeat_seconds) == ("ada", "p@ss", "shop/eu", 5)
    assert str(found.tls.authorities) == "/etc/ca.pem"


def test_an_address_of_kafka() -> None:
    found = parse_address("kafka://one.example.com,[::1]:19092?mechanism=scram-sha-256")
    assert found.hosts == (("one.example.com", 9092), ("::1", 19092))
    assert (found.name, found.password, found.tls, found.mechanism) == (None, None, TlsFiles(), "SCRAM-SHA-256")
    assert str(found) == "one.example.com:9092,[::1]:19092"


def test_without_a_path_the_virtual_host_is_the_default() -> None:
    assert parse_address("amqp://h").virtual_host == parse_address("amqp://h/").virtual_host == "/"


def test_a_password_beside_the_url_replaces_that_in_it() -> None:
    assert parse_address("amqp://ada:old@h", "new").password == "new"
    assert parse_address("amqp://ada@h").password is None


def shown(address: BrokerAddress) -> str:
    return f"{address} {address!r}"


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in shown(parse_address("amqp://ada:hunter2@h"))
    assert "hunter2" not in shown(parse_address("kafka://ada@h", "hunter2"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mq.example.com",
        "http://h",
        "amqp://",
        "amqp://ada:hunter2@",
        "amqp://ada:hunter2@h:port",
        "amqp://ada:hunter2@h:99999",
        "amqp://ada:hunter2@h?verify=none",
        "amqp://ada:hunter2@h?heartbeat=0",
        "amqp://ada:hunter2@h?mechanism=PLAIN",
        "kafka://ada:hunter2@h/topic",
        "kafka://ada:hunter2@h?mechanism=GSSAPI",
        "kafka://ada:hunter2@h,:9092",
    ],
)
def test_what_is_not_an_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Fault) as caught:
        parse_address(url)
    assert caught.value.code == "invalid_broker_url"
    assert caught.value.__cause__ is None
    assert "hunter2" not in caught.value.detail
    assert "amqp://name:password@host:5672/virtual-host" in caught.value.detail
