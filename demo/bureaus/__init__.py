"""A population bureau on each thing a department may run on: PostgreSQL, MariaDB, SQLite, or files that people hand in."""
