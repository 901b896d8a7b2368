"""`cdp source hook`: what it prints, what it gives to machines, and that it shows no secret."""

from pathlib import Path

import pytest

from tests.support.commands import Shell
from tests.support.policies import ROOT
from tests.support.webhook_payloads import ORDER, REFUNDS, email_consent, mailchimp, shopify

pytestmark = pytest.mark.postgres

EXAMPLES = ROOT / "examples" / "webhooks"
SECRET = "shpss_0123456789abcdef"


@pytest.fixture
def shell(database_url: str, tmp_path: Path) -> Shell:
    """Commands on a database of their own, without a running service."""
    return Shell(tmp_path / "home", {"CDP_DATABASE_URL": database_url})


def test_a_webhook_is_set_shown_rotated_and_deleted(shell: Shell, tmp_path: Path) -> None:
    secret, mapping = tmp_path / "secret.txt", str(EXAMPLES / "shopify.yaml")
    secret.write_text(SECRET + "\n")
    shell.run("source", "create", "shop", "--kind", "server", "--jurisdiction", "eu")
    assert shell.run("source", "hook", "show", "shop", code=3).stderr.startswith("unknown_hook")
    options = ["--signature", "shopify", "--mapping", mapping]
    assert shell.run("source", "hook", "set", "shop", *options, code=2).stderr.startswith("secret_missing")
    shown = shell.run("source", "hook", "set", "shop", *options, "--secret-file", str(secret)).stdout
    assert "/v1/hook/shop" in shown
    secret.write_text("fedcba9876543210\n")
    assert shell.json("source", "hook", "rotate", "shop", "--secret-file", str(secret))["secrets"] == 2
    assert shell.json("source", "hook", "set", "shop", *options, "--window", "60")["secrets"] == 2
    assert shell.run("source", "hook", "rotate", "shop", code=2).stderr
    assert shell.json("source", "hook", "rotate", "shop", "--end-previous")["secrets"] == 1
    found = shell.json("source", "hook", "show", "shop")
    assert (found["signature"], found["window_seconds"], found["secrets"]) == ("shopify", 60, 1)
    assert found["mapping"] == Path(mapping).read_text()
    for printed in (shown, str(found), shell.run("source", "hook", "show", "shop").stdout):
        assert SECRET not in printed
        assert "fedcba" not in printed
    shell.run("source", "hook", "delete", "shop")
    assert shell.run("source", "hook", "delete", "shop", code=3).stderr.startswith("unknown_hook")


def test_a_recorded_delivery_is_tried_without_a_database(tmp_path: Path) -> None:
    shell = Shell(tmp_path / "home")
    file = tmp_path / "delivery.json"
    order = shopify("orders/updated", {**ORDER, "refunds": REFUNDS})
    file.write_bytes(order.body)
    options = ["--mapping", str(EXAMPLES / "shopify.yaml")]
    tried = shell.json("source", "hook", "try", str(file), *options, "--header", "X-Shopify-Topic: orders/updated")
    assert [(row["event"], row["rows"], row["state"], row["reason"]) for row in tried["rows"]] == [
        ("Order Refunded", 2, "stored", ""),
        ("", 1, "invalid", "not_selected"),
    ]
    shown = shell.run("source", "hook", "try", str(file), *options).stdout
    assert "left out by `only`" in shown
    assert shown.rstrip().endswith("Nothing was written.")
    file.write_bytes(email_consent("unsubscribed").body)
    header = "x-shopify-topic: customers_email_marketing_consent/update"
    assert (
        "refuse email_marketing" in shell.run("source", "hook", "try", str(file), *options, "--header", header).stdout
    )
    file.write_bytes(mailchimp(type="unsubscribe", fired_at="2026-11-02 10:00:00", data__email="a@example.com").body)
    form = [
        "--mapping",
        str(EXAMPLES / "mailchimp.yaml"),
        "--header",
        "Content-Type: application/x-www-form-urlencoded",
    ]
    assert shell.json("source", "hook", "try", str(file), *form)["rows"][0]["consents"] == ["refuse email_marketing"]
    assert shell.run("source", "hook", "try", str(file), *options, code=2).stderr.startswith("unreadable_delivery")
    assert shell.run("source", "hook", "try", str(file), *options, "--header", "topic", code=2).stderr
