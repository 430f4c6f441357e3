"""``catalogue``: register, audit, verify, publish, release, check, import. Every command is one verb at the desk."""

from central.cli.catalogue import check, decide, look, releases, sheets, work
from central.cli.catalogue.group import app

__all__ = ["app", "check", "decide", "look", "releases", "sheets", "work"]
