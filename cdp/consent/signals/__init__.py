"""Consent signals: statements about purposes in messages and headers, parsed into proposed acts."""
