"""The exchange database: mirror, outbox and checkpoint, moved in one transaction."""
