"""The IAB's Global Privacy Platform: one text with the choices of a person under several laws, a section for each."""
