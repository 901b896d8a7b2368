"""Samples follow the salt of a profile: through merges, unmerges and rotations, and differently for each purpose."""

from hashlib import sha256
from pathlib import Path

import pytest

from cdp.flows.identity import unmerge
from cdp.flows.operations.key_rotation import rotate_pseudonyms
from cdp.flows.segments.evaluation import compiled_condition
from cdp.flows.segments.texts import checked
from cdp.identity.model import Identifier
from cdp.kit.db import Database
from cdp.segments.store import definitions as definition_store
from tests.support.messages import consent_context, track
from tests.support.policies import permit_all
from tests.support.requests import RequestPipeline, open_request_pipeline

pytestmark = pytest.mark.postgres

SEEDS = [f"seed-{number}" for number in range(40)]


@pytest.fixture
def rights(database: Database, tmp_path: Path) -> RequestPipeline:
    rights = open_request_pipeline(database, permit_all(), tmp_path)
    everything = consent_context(email_marketing=True)
    rights.pipeline.send(track(userId="ada", context=everything))
    rights.pipeline.send(track(anonymousId="laptop", context=everything))
    return rights


def drawn(rights: RequestPipeline, purpose: str = "analytics") -> dict[int, list[bool]]:
    """For each current profile, in which of the samples it is."""
    context = rights.context
    with context.database.transaction() as tx:
        ids = {row[0] for row in tx.execute("SELECT profile_id FROM identity.profile WHERE merged_into IS NULL")}
        catalogue = definition_store.catalogue_of(tx, context.policy)
        found: dict[int, list[bool]] = {profile_id: [] for profile_id in ids}
        for seed in SEEDS:
            condition = checked(f'sample 50% by "{seed}"', catalogue, purpose, now=None)
            now = context.clock.now()
            compiled = compiled_condition(tx, condition, catalogue, purpose=purpose, now=now)
            members = {row[0] for row in tx.all(compiled.members)}
            for profile_id in ids:
                found[profile_id].append(profile_id in members)
    return found


def computed_from(salt: bytes, purpose: str = "analytics") -> list[bool]:
    """The samples in which a profile with this salt must be."""
    inner = sha256(salt + purpose.encode()).digest()
    return [sha256(inner + seed.encode()).digest()[0] < 128 for seed in SEEDS]


def salts(rights: RequestPipeline) -> dict[int, bytes]:
    with rights.context.database.transaction(read_only=True) as tx:
        rows = tx.execute("SELECT profile_id, salt FROM identity.profile ORDER BY origin_sequence")
    return {profile_id: bytes(salt) for profile_id, salt in rows}


def test_a_sample_is_computed_from_the_salt_and_the_purpose(rights: RequestPipeline) -> None:
    found = salts(rights)
    assert {len(salt) for salt in found.values()} == {16}
    assert len(set(found.values())) == 2
    assert drawn(rights) == {profile_id: computed_from(salt) for profile_id, salt in found.items()}
    marketing = drawn(rights, "email_marketing")
    assert marketing == {profile_id: computed_from(salt, "email_marketing") for profile_id, salt in found.items()}
    assert marketing != drawn(rights)


def test_a_merge_keeps_the_older_salt_and_an_unmerge_returns_each_its_own(rights: RequestPipeline) -> None:
    before, samples = salts(rights), drawn(rights)
    older = next(iter(before))
    rights.pipeline.send(track(userId="ada", anonymousId="laptop"))
    assert drawn(rights) == {older: samples[older]}
    sides = Identifier("user_id", "ada"), Identifier("anonymous_id", "laptop")
    unmerge.unmerge(rights.context, *sides, dry_run=False, actor="operator")
    assert salts(rights) == before
    assert drawn(rights) == samples


def test_no_rotation_moves_anybody(rights: RequestPipeline) -> None:
    before, pseudonyms = drawn(rights), reader_pseudonyms(rights)
    rotate_pseudonyms(rights.context)
    assert drawn(rights) == before
    assert reader_pseudonyms(rights) == pseudonyms


def reader_pseudonyms(rights: RequestPipeline) -> list[str]:
    with rights.context.database.transaction(read_only=True) as tx:
        return [row[0] for row in tx.execute("SELECT reader_pseudonym FROM consent.permitted ORDER BY 1")]
