"""Key providers: where root keys are kept."""
