"""Steps that end in one task."""
