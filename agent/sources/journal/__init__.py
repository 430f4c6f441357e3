"""Triggers at the business database note which keys changed; the rows themselves are read when they are delivered."""
