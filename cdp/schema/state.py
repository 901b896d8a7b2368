"""The table of a state store in a PostgreSQL database of its own, which `cdp.kit.state_database` creates.

It is not part of the store of cdp: it is never migrated, erased or restored with it, and declared in a schema of its own.
"""

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

from cdp.schema.dictionary import impersonal, personal

state_metadata = MetaData()

state_file = Table(
    "cdp_state",
    state_metadata,
    Column("name", Text, primary_key=True, info=impersonal()),
    Column("begins", BigInteger, primary_key=True, autoincrement=False, info=impersonal()),
    Column(
        "content",
        LargeBinary,
        nullable=False,
        info=personal(
            erase="keep",
            retention="replay_file",
            export=None,
            category="suppression",
            why_kept="it has the files of the state store, of which `cdp.schema.dictionary.FILES` declares each",
            why_not_exported="random ids, and pseudonyms that cannot be joined with other data",
            via="identifier",
        ),
    ),
    schema="public",
    comment="The files of a state store, each as pieces that are numbered by their first byte.",
)
