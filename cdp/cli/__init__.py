"""Commands: they translate, then call one flow."""
