"""The tables of each component, with a privacy declaration for every column."""
