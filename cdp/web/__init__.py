"""The HTTP interface: ingest for SDKs, the API for staff, pages and the public log."""
