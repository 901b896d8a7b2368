"""Use cases: record a consent act, end grants, clear what a withdrawal covers; and the verdicts that every change ends with."""
