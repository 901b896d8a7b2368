"""The PostgreSQL engine: authoritative and live."""
