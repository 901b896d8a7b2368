"""Use cases: subject requests, export, erasure, replay, scrub."""
