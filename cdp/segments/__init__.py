"""Segments: a small language with one purpose each, and two evaluators that must agree."""
