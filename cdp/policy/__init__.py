"""What is allowed: the folder `policies/` as frozen values with one fingerprint."""
