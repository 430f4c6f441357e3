"""The commented settings that ``init`` writes; ``config/central.example.yaml`` is this text with the usual answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILES: Final = (
    *("ca.pem", "ca.key", "server.pem", "server.key"),
    *("operator.pem", "operator.key", "platform.pem", "platform.key"),
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What differs from one central to the next."""

    folder: Path = Path("/etc/exchange-node")
    advertise: str = "central.example:7443"
    port: int = 7443
    database: str = "sqlite:////var/lib/exchange-central/central.db"


def render(answers: Answers) -> str:
    """The settings file for *answers*."""
    text = _TEXT
    for mark, value in (
        ("@LISTEN@", f"0.0.0.0:{answers.port}"),
        ("@ADVERTISE@", answers.advertise),
        ("@DATABASE@", answers.database),
    ):
        text = text.replace(mark, json.dumps(value, ensure_ascii=False))
    for name in FILES:
        text = text.replace(f"@{name}@", json.dumps(str(answers.folder / "tls" / name), ensure_ascii=False))
    return text


_TEXT: Final = """\
# Settings of exchange-central. Check them with: exchange-central check -c THIS_FILE
# Secrets stay outside: ${file:/path}, ${env:NAME} or ${cred:NAME} (systemd's LoadCredential=) may stand in any text.

# Where to listen for nodes and operators. Mutual TLS only; there is no other port.
listen: @LISTEN@

# How nodes and operators reach this central; must be one of the names in the server certificate.
advertise: @ADVERTISE@

# Central's database: an SQLite file for trials and small platforms, PostgreSQL for everything else, for example
#   postgresql+psycopg://exchange:${file:/etc/exchange-node/db.password}@db.example/exchange
# Several central processes may share one PostgreSQL.
database: @DATABASE@

# Central's identity. The files are read again by themselves when they change.
tls:
  # Whose certificates are looked at all; may hold several, so that an authority can be replaced.
  # Being signed is not enough: every node's certificate is registered with "exchange-central node add".
  ca: @ca.pem@
  certificate: @server.pem@
  key: @server.key@

# The small authority that "node add" issues with. Leave it out when certificates come from elsewhere;
# register them with "node add NAME --certificate FILE" then.
issuer:
  certificate: @ca.pem@
  key: @ca.key@

# Whose certificate "status" and "explain" on this machine use.
operator:
  certificate: @operator.pem@
  key: @operator.key@

# What signs the catalogue's releases and the receipts of deliveries. Not the server's key: what it signed is checked for years.
signing:
  certificate: @platform.pem@
  key: @platform.key@

# The policy profile: every number that comes from law. Left out: the Measures of 2015 (sd-2015), which come with the program.
# policy: /etc/exchange-node/policy/cn-2025.yaml

# Whose platform this is. Level is province or city; the policy says where a platform may be (Art. 8).
platform:
  name: 信息共享平台
  level: city
  # Administrative division code; 000000 = nobody has said.
  region: "000000"

# Commands on this machine may decide for the person named with --as; each is on record as decided at the console.
# With false, only people's own certificates decide, and nodes for people of their own department.
console_decides: true

# Every limit has a name; reaching one slows a node down or refuses with a code, and loses nothing.
limits:
  # How many batches and bytes a node may send ahead of its acknowledgements.
  window_batches: 64
  window_bytes: 33554432
  # Bytes of batches not accepted yet, all nodes together; beyond it nodes are asked to come back.
  gathering_bytes: 536870912
  # Bytes of accepted batches kept in memory for the appliers; beyond it they read from the ledger.
  handover_bytes: 134217728
  # Threads that accept, apply and deliver; together with four more, the database connections.
  intake_threads: 8
  apply_threads: 4
  # Threads that bring granted data to its consumers.
  delivery_threads: 4

# Accepted batches are kept this long after they were applied; those that a held table waits for until
# it was held for held_days. Afterwards only a fresh copy mends that table.
ledger:
  keep_days: 30
  held_days: 90

# Nothing more is accepted when less than this is free (of an SQLite database's folder, or of "path").
disk:
  # path: /var/lib/postgresql
  least_free_bytes: 2147483648

# How often nodes report; one that is silent for three times this is shown as such.
heartbeat_s: 10

# Lets tools list the services; needs the package grpcio-reflection. For trials.
reflection: false

# debug, info, warning or error; read again on SIGHUP.
log_level: info
"""
