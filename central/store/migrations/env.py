"""Run by alembic inside the transaction that holds the migration lock."""

from alembic import context

from central.store.migration import options

connection = context.config.attributes["connection"]
context.configure(connection=connection, **options(connection))
context.run_migrations()
