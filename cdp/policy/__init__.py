"""The policy: the folder `policies/` as frozen values with one fingerprint."""
