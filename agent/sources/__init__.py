"""Ways of listening to a business database."""
