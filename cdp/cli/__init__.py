"""Commands: each parses its arguments and calls one use case."""
