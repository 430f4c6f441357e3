"""PostgreSQL, read through its streaming replication protocol: `source.py` is the door, `pgoutput.py` the decoder."""
