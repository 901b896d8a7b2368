"""What the log can say of an erased person's consents: the leaves stay, the facts and their salts are gone."""

from pathlib import Path

from cdp.flows.consent import acts
from cdp.kit.db import Database
from tests.flows.desks import ADA, BOB, open_office
from tests.policies import shipped


def test_an_erasure_erases_the_facts_of_the_persons_consents_and_no_other(database: Database, tmp_path: Path) -> None:
    office = open_office(database, shipped(), tmp_path)
    told = [
        acts.record(office.context, acts.Told(("email", address), "analytics", "grant"), office.town.clock.now())
        for address in ("ada@example.com", "bob@example.com")
    ]
    office.town.send(ADA, BOB)
    leaves = office.town.one("SELECT count(*) FROM audit.entry")

    office.erase(("email", "ada@example.com"))

    with database.transaction(read_only=True) as tx:
        kept = [row[0] for row in tx.bulk("SELECT body ->> 'record' FROM audit.fact WHERE kind = 'consent.recorded'")]
    assert kept == [told[1].record]
    assert office.town.one("SELECT count(*) FROM audit.entry") > leaves
