"""The desk: the one place where people decide. It checks arguments and roles, opens the transaction, keeps the record."""

from central.desk.desk import Desk
from central.desk.verbs import VERBS

__all__ = ["VERBS", "Desk"]
