"""Runs migrations on the connection that `segue.store.migrate.upgrade` made."""

from alembic import context


def run() -> None:
    """Run what is missing, all in the transaction of that connection."""
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=None,
        transactional_ddl=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


# Alembic's name for this file. Whoever imports it otherwise, such as a doctest, runs nothing.
if __name__ == "env_py":
    run()
