"""What everything else builds on: clock, ids, errors, settings, the database, canonical bytes and logs. Imports no other package of cdp."""
