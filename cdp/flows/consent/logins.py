"""Use case that checks what a server lets the logins of readers do."""

from dataclasses import dataclass

from cdp.consent.store import login_gaps as gap_store
from cdp.consent.store.login_gaps import Gap
from cdp.flows.context import Context
from cdp.postgres.login_rights import restrict_database_statements, restrict_server_statements, restrict_statements


@dataclass(frozen=True, slots=True)
class LoginCheck:
    """What this server leaves to the logins of readers, and the statements with which its superuser takes it away."""

    gaps: tuple[Gap, ...]
    statements: tuple[str, ...]


def check_logins(context: Context) -> LoginCheck:
    """Compare the rights of logins with those that a reader must have."""
    with context.database.transaction(read_only=True) as tx:
        gaps = gap_store.login_gaps(tx)
        owner, database = gap_store.owner_and_database(tx)
    others = [name for gap in gaps if gap.name == "other_databases" for name in gap.concerns]
    statements = [
        *restrict_statements(owner),
        *restrict_server_statements(owner),
        *restrict_database_statements(database, others),
    ]
    return LoginCheck(tuple(gaps), tuple(statements))
