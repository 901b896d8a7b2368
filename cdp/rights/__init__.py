"""Subject requests: deadlines, erasure and export plans, legal holds, suppressions and receipts."""
