"""Consent: recorded grants and refusals, and the verdicts that follow from them."""
