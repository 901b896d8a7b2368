"""Rights: heard, checked, carried out once, provable."""
