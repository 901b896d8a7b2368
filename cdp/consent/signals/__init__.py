"""Consent signals: what messages and headers say about purposes, read into proposed acts."""
