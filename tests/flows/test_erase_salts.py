"""What the log can say of an erased person's consents: the leaves stay, the facts and their salts are gone."""

from pathlib import Path

from cdp.flows.consent import acts
from cdp.kit.db import Database
from tests.support.people import ADA, BOB
from tests.support.policies import shipped
from tests.support.requests import open_request_pipeline


def test_an_erasure_erases_the_facts_of_the_persons_consents_and_no_other(database: Database, tmp_path: Path) -> None:
    rights = open_request_pipeline(database, shipped(), tmp_path)
    told = [
        acts.record(rights.context, acts.ConsentStatement(("email", address), "analytics", "grant"))
        for address in ("ada@example.com", "bob@example.com")
    ]
    rights.pipeline.send(ADA, BOB)
    leaves = rights.pipeline.one("SELECT count(*) FROM audit.entry")

    rights.erase(("email", "ada@example.com"))

    with database.transaction(read_only=True) as tx:
        kept = [
            row[0] for row in tx.execute("SELECT body ->> 'record' FROM audit.fact WHERE kind = 'consent.recorded'")
        ]
    assert kept == [told[1].record]
    assert rights.pipeline.one("SELECT count(*) FROM audit.entry") > leaves
