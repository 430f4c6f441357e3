"""The department's side: captures changes, keeps the exchange database equal and pushes to central."""
