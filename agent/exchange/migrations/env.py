"""Runs the steps on the connection that the store opened; the store holds the lock and commits."""

from alembic import context

attributes = context.config.attributes
place = attributes["place"]
context.configure(
    connection=attributes["connection"],
    version_table=f"{place.prefix}version",
    version_table_schema=place.schema,
    transactional_ddl=True,
)
context.run_migrations()
