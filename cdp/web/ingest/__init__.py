"""The ingest API: the paths of the Segment spec."""
