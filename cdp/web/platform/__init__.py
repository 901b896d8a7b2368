"""What every route stands on: the application, authentication, errors, limits, health, metrics."""
