"""What every route shares: authentication, errors, limits, health, metrics."""
