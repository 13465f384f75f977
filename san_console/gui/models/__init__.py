"""Item models on the replica's collections."""
