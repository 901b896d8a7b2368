"""Import a table of links between identifiers, part by part."""
