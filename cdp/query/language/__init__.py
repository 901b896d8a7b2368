"""The segment language: text, syntax tree, checks and forms. Pure; knows no SQL."""
