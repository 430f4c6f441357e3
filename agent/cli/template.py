"""The settings file that ``init`` writes: short, commented, without a secret in it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.cli.discovery import Offer, without_password
from agent.settings import Settings
from proto.errors import Refused
from proto.process import SettingsError, load_settings

_HEAD: Final = """\
# Settings of the exchange agent. This file belongs to the department: what it does not name does not leave.
# Every setting there is, with its meaning: agent.example.yaml. Check it with: exchange-agent check --config {out}

node: {node}

# The sharing platform, and who we are to it. The platform hands out these three files; the key stays here, mode 0600.
central:
  address: {address}
  ca: {ca}
  certificate: {certificate}
  key: {key}

# Mirror, outbox and checkpoint. A file by default; postgresql+psycopg://user:${{file:/path}}@host/db for a database.
exchange:
  url: {exchange}

socket: {socket}

sources:
  - kind: postgresql
    name: {source}
    # Secrets stay outside this file: ${{file:/path}}, ${{env:NAME}}, or ${{cred:NAME}} for systemd's LoadCredential=.
    dsn: {dsn}
    # Only the columns listed here leave. 'name' is what the platform calls the table.
    tables:
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the person, or the command line, said."""

    out: Path
    node: str
    address: str
    source: str
    exchange: str
    socket: Path
    certificates: Path
    """The directory that holds ca.pem, node.pem and node.key."""


def save(answers: Answers, dsn: str, chosen: list[Offer], others: list[Offer]) -> None:
    """Write the file, and the password into one of its own; never over a file that is there."""
    secret = answers.out.parent / f"{answers.source}-password"
    address, password = without_password(dsn, f"${{file:{secret}}}")
    text = settings_text(answers, address, chosen, others)
    existing = [path for path in (answers.out, *([secret] if password else [])) if path.exists()]
    if existing:
        raise Refused("is already there", where=str(existing[0]), fix="choose another place with --out")
    try:
        if password:
            _write_private(secret, password + "\n")
        _write_private(answers.out, text)
        load_settings(answers.out, Settings)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(error.filename)) from error
    except SettingsError:
        answers.out.unlink()
        if password:
            secret.unlink()
        raise


def settings_text(answers: Answers, dsn: str, chosen: list[Offer], others: list[Offer]) -> str:
    """The text of the file."""
    head = _HEAD.format(
        out=answers.out,
        node=answers.node,
        address=_quoted(answers.address),
        ca=_quoted(str(answers.certificates / "ca.pem")),
        certificate=_quoted(str(answers.certificates / "node.pem")),
        key=_quoted(str(answers.certificates / "node.key")),
        exchange=_quoted(answers.exchange),
        socket=_quoted(str(answers.socket)),
        source=answers.source,
        dsn=_quoted(dsn),
    )
    return head + "".join(_table(offer) for offer in chosen) + "".join(_left_out(offer) for offer in others)


def _table(offer: Offer) -> str:
    columns = ", ".join(_quoted(column) for column in offer.columns)
    lines = [
        f"      - table: {_quoted(offer.place)}  # {offer.size}, key {', '.join(offer.key) or 'none'}",
        f"        columns: [{columns}]",
    ]
    if not offer.key:
        lines.append("        append_only: true  # only if its rows are never changed or removed")
    return "\n".join(lines) + "\n"


def _left_out(offer: Offer) -> str:
    return f"      # - table: {_quoted(offer.place)}  # {offer.suggestion}\n"


def _write_private(path: Path, text: str) -> None:
    """Made with mode 0600 from the first byte on."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _quoted(text: str) -> str:
    # A JSON string is a YAML string, whatever is in it.
    return json.dumps(text, ensure_ascii=False)
