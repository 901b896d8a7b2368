"""Identity resolution: identifiers, anchors, profiles, and the evidence that links or separates them."""
