"""Settings: each default, each wrong value with its remedy, and no secret in anything that is shown."""

import logging
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from cdp.kit.clock import SteadyClock
from cdp.kit.config import SETTINGS, Config, PoolSizes, read_config
from cdp.kit.errors import Fault

KEY = "00112233445566778899aabbccddeeff" * 2


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    config = read_config({"PATH": "/usr/bin"})
    assert config.home == Path("var")
    assert config.policies == Path("policies")
    assert (config.host, config.port, config.log_level) == ("127.0.0.1", 8000, "info")
    assert config.database_url is None
    assert config.master_key is None
    assert isinstance(config.clock(), SteadyClock)


def test_every_setting_is_read() -> None:
    config = read_config(
        {
            "CDP_DATABASE_URL": "postgres://u:p@db.example:5433/cdp",
            "CDP_HOME": "/srv/cdp",
            "CDP_POLICIES": "/etc/cdp",
            "CDP_HOST": "0.0.0.0",
            "CDP_PORT": "80",
            "CDP_MASTER_KEY": KEY,
            "CDP_LOG_LEVEL": "DEBUG",
            "CDP_NOW": "2026-01-31T12:00:00Z",
            "CDP_ALLOW_TEST_CLOCK": "1",
            "CDP_TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
            "CDP_TRUSTED_HOSTS": "CDP.example.com, cdp.example.com:8443",
            "CDP_CONNECTIONS": "500",
            "CDP_CONNECTIONS_PER_ADDRESS": "50",
            "CDP_POOL_API": "20",
            "CDP_POOL_INGEST": "5",
            "CDP_POOL_WORKER": "6",
            "CDP_POOL_HEALTH": "2",
        }
    )
    assert config == Config(
        home=Path("/srv/cdp"),
        policies=Path("/etc/cdp"),
        host="0.0.0.0",
        port=80,
        log_level="debug",
        fixed_now=datetime(2026, 1, 31, 12, tzinfo=UTC),
        database_url="postgresql+psycopg://u:p@db.example:5433/cdp",
        master_key=bytes.fromhex(KEY),
        trusted_proxies=(ip_network("127.0.0.1"), ip_network("10.0.0.0/8")),
        trusted_hosts=("cdp.example.com", "cdp.example.com:8443"),
        connections_max=500,
        connections_per_address_max=50,
        pools=PoolSizes(api=20, ingest=5, worker=6, health=2),
    )
    assert config.clock().now() == datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("CDP_TRUSTED_PROXIES", "nginx", "127.0.0.1, 10.0.0.0/8"),
        ("CDP_TRUSTED_HOSTS", "https://cdp.example.com/", "cdp.example.com, cdp.example.com:8443"),
        ("CDP_TRUSTED_HOSTS", "a,,b", "cdp.example.com, cdp.example.com:8443"),
        ("CDP_CONNECTIONS", "0", "a number from 1 to 1000000"),
        ("CDP_CONNECTIONS_PER_ADDRESS", "many", "a number from 1 to 1000000"),
        ("CDP_HOST", "not a host", "an address such as 127.0.0.1"),
        ("CDP_HOST", "http://0.0.0.0", "an address such as 127.0.0.1"),
        ("CDP_HOST", "0.0.0.0:8000", "without a port"),
        ("CDP_PORT", "eighty", "a number from 1 to 65535"),
        ("CDP_PORT", "65536", "a number from 1 to 65535"),
        ("CDP_PORT", "-1", "a number from 1 to 65535"),
        ("CDP_PORT", "८०", "a number from 1 to 65535"),
        ("CDP_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("CDP_DATABASE_URL", "mysql://u:hunter2@h/d", "postgresql://user:password@host:5432/database"),
        ("CDP_DATABASE_URL", "postgresql://u:hunter2@h", "postgresql://user:password@host:5432/database"),
        ("CDP_MASTER_KEY", "hunter2", "64 hexadecimal digits"),
        ("CDP_MASTER_KEY", KEY[:-2], "64 hexadecimal digits"),
        ("CDP_MASTER_KEY", "00" * 32, "64 hexadecimal digits"),
        ("CDP_KMS_URL", "hunter2", "https://kms.example.com/keys/cdp"),
        ("CDP_NOW", "yesterday", "2026-01-31T12:00:00Z"),
        ("CDP_NOW", "2026-01-31T12:00:00Z", "CDP_ALLOW_TEST_CLOCK=1"),
        ("CDP_ALLOW_TEST_CLOCK", "maybe", "0 or 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right_and_without_secrets(
    name: str, value: str, remedy: str
) -> None:
    with pytest.raises(Fault) as raised:
        read_config({name: value})
    fault = raised.value
    assert fault.code == "wrong_setting"
    assert fault.detail.startswith(name)
    assert remedy in fault.detail
    assert "hunter2" not in fault.detail
    assert KEY[:-2] not in fault.detail


def test_two_keepers_of_the_master_key_are_refused() -> None:
    with pytest.raises(Fault, match="wrong_setting"):
        read_config({"CDP_MASTER_KEY": KEY, "CDP_KMS_URL": "https://kms.example.com/k"})


def test_secrets_do_not_show_in_the_text_of_the_settings() -> None:
    config = read_config({"CDP_MASTER_KEY": KEY, "CDP_DATABASE_URL": "postgresql://u:hunter2@h/d"})
    assert "hunter2" not in repr(config)
    assert KEY not in repr(config)
    assert repr(bytes.fromhex(KEY)) not in repr(config)


def test_an_unknown_name_is_warned_of_with_its_neighbour_and_without_its_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        read_config({"CDP_DATABASE_URI": "postgresql://u:hunter2@h/d"})
    (record,) = caplog.records
    assert record.msg == "unknown_setting"
    assert vars(record)["setting"] == "CDP_DATABASE_URI"
    assert vars(record)["near"] == "CDP_DATABASE_URL"
    assert "hunter2" not in str(vars(record))


def test_every_known_name_passes_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    values = {setting.name: "" for setting in SETTINGS}
    with caplog.at_level(logging.WARNING):
        read_config(values)
    assert caplog.records == []
