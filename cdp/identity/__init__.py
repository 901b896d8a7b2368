"""Who is who: identifiers, anchors, profiles, and the evidence that joins or separates them."""
