"""The ground floor: clock, ids, errors, settings, the database, canonical bytes and logs. It imports nothing of cdp above it."""
