"""Fixtures are plug-ins, named for what they give."""

pytest_plugins = [
    "tests.support.postgres",
    "tests.support.mariadb",
    "tests.support.proxy",
    "tests.support.department",
    "tests.support.listener",
    "tests.support.mysql",
    "tests.support.rigs",
]
