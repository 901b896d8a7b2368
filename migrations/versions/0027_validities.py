"""Keep from when on a policy changes how long grants are valid, so that a shorter validity ends earlier grants. Phase: pre."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_COMMENT = (
    "Changes of how long the grants of a purpose are valid: from when on, and for how many days; without a number, "
    "for ever. Never updated. A purpose whose validity has not changed has no row."
)

_FUNCTION = """
CREATE FUNCTION consent.shortened_end(purpose text, given_at timestamptz, recorded_at timestamptz, as_of timestamptz)
RETURNS timestamptz
LANGUAGE sql STABLE
AS $$
    SELECT min(period.ends_at) FROM (
        SELECT v.validity_days, greatest(given_at + make_interval(hours => 24 * v.validity_days), v.applied_at) AS ends_at,
               lead(v.applied_at) OVER (ORDER BY v.validity_id) AS replaced_at
        FROM consent.validity AS v
        WHERE v.purpose = shortened_end.purpose AND (as_of IS NULL OR v.applied_at <= as_of)
    ) AS period
    WHERE period.validity_days IS NOT NULL
      AND (period.replaced_at IS NULL OR period.replaced_at > shortened_end.recorded_at)
$$
"""


def upgrade() -> None:
    op.execute(
        "CREATE TABLE consent.validity (validity_id serial PRIMARY KEY, purpose text NOT NULL, "
        "applied_at timestamptz NOT NULL, validity_days integer)"
    )
    op.execute(f"COMMENT ON TABLE consent.validity IS '{_COMMENT}'")
    op.execute(_FUNCTION)
    op.execute("REVOKE ALL ON FUNCTION consent.shortened_end(text, timestamptz, timestamptz, timestamptz) FROM PUBLIC")
