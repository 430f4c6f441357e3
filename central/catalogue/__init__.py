"""What departments have, what of it may be shared, and the signed releases that make that binding."""
