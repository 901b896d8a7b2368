"""A no about a shared identifier, said in the same batch in which one of its people changes."""

from pathlib import Path

from cdp.flows.consent.verdicts import current_verdicts
from cdp.identity.store.consent_subjects import next_profiles
from cdp.kit.canonical import sha256
from cdp.kit.db import Database
from cdp.sources.store.sources import add_source
from tests.support.messages import page
from tests.support.people import new_source
from tests.support.pipeline import open_pipeline
from tests.support.policies import shipped

CALIFORNIA = new_source(1, "west", jurisdiction="us-ca")


def test_it_ends_the_permission_of_everybody_seen_with_it(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(database, shipped(), tmp_path)
    with database.transaction() as tx:
        add_source(tx, CALIFORNIA, sha256(b"west"), now=pipeline.clock.now())
    tablet = page(anonymousId="tablet")
    pipeline.send({**tablet, "userId": "ada"}, source=CALIFORNIA)
    pipeline.send({**tablet, "userId": "bob"}, source=CALIFORNIA)
    assert pipeline.one("SELECT count(*) FROM identity.identifier WHERE is_shared") == 1
    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'advertising'") == 2

    pipeline.ingest.process(
        [
            pipeline.message(page(anonymousId="phone", userId="ada"), source=CALIFORNIA),
            pipeline.message(tablet, source=CALIFORNIA, has_gpc=True),
        ]
    )

    assert pipeline.one("SELECT count(*) FROM consent.permitted WHERE purpose = 'advertising'") == 0
    with database.transaction(read_only=True) as tx:
        profiles = next_profiles(tx, 0, 10)
        decided = current_verdicts(tx, pipeline.context.policy, profiles, now=pipeline.clock.now())
    assert len(profiles) == 3
    assert not any(each["advertising"].allowed for each in decided.values())
