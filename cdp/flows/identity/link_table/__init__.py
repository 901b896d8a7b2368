"""Use case: a table of links between identifiers, taken in parts."""
