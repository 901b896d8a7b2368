"""Destinations: deliveries to recipients, written in the transaction that causes them."""
