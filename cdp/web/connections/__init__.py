"""Connections of clients: how many, from where, how large a request and how slow, before any route is asked."""
