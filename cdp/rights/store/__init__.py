"""All SQL of rights."""
