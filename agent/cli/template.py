"""The settings file that ``init`` writes: short, commented, without a secret in it."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from agent.cli.discovery import Offer
from agent.cli.places import hidden
from agent.cli.samples import Sample
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

"""
_RECEIVES_ONLY: Final = """\
# Nothing is captured here: this node only receives what is granted to its department.
sources: []
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


@dataclass(frozen=True, slots=True)
class Listening:
    """The way that was chosen, and what is to be shared."""

    kind: str
    setting: str
    """``dsn``, ``url``, ``odbc`` or ``folder``."""
    address: str
    """With its password, which goes no further than its own file."""
    chosen: Sequence[Offer] = ()
    others: Sequence[Offer] = ()
    samples: Sequence[Sample] = ()

    def section(self, name: str) -> dict[str, Any]:
        """As the settings will be read."""
        tables = [_sampled(sample) for sample in self.samples]
        tables += [_offered(offer, called) for offer, called in self.names()]
        return {"kind": self.kind, "name": name, self.setting: self.address, "tables": tables}

    def names(self) -> list[tuple[Offer, str]]:
        """What is to be shared, each with the name the platform shall know it by; "" where its own tells it apart."""
        often = Counter(offer.table for offer in self.chosen)
        taken, named = {offer.table for offer in self.chosen}, []
        for offer in self.chosen:
            called = ""
            if often[offer.table] > 1:
                wanted = f"{offer.schema}_{offer.table}"
                tries = (wanted, *(f"{wanted}_{number}" for number in range(2, len(self.chosen) + 2)))
                called = next(each for each in tries if each not in taken)
                taken.add(called)
            named.append((offer, called))
        return named


def save(answers: Answers, listening: Listening | None) -> None:
    """Write the file, and the password into one of its own; never over a file that is there. None = it only receives."""
    secret, password = answers.out.parent / f"{answers.source}-password", ""
    if listening is not None:
        address, password = hidden(listening.setting, listening.address, f"${{file:{secret}}}")
        listening = replace(listening, address=address)
    text = settings_text(answers, listening)
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


def settings_text(answers: Answers, listening: Listening | None) -> str:
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
    )
    return head + (_RECEIVES_ONLY if listening is None else f"sources:\n{_source(answers.source, listening)}")


def _source(name: str, listening: Listening) -> str:
    lines = [
        f"  - kind: {listening.kind}",
        f"    name: {name}",
        "    # Secrets stay outside this file: ${file:/path}, ${env:NAME}, or ${cred:NAME} for systemd's LoadCredential=.",
        f"    {listening.setting}: {_quoted(listening.address)}",
        "    # Only the columns listed here leave. 'name' is what the platform calls the table.",
        "    tables:",
    ]
    tables = [_sample(sample) for sample in listening.samples]
    tables += [_table(offer, called, listening.kind) for offer, called in listening.names()]
    return "\n".join(lines) + "\n" + "".join(tables) + "".join(map(_left_out, listening.others))


def _offered(offer: Offer, called: str) -> dict[str, Any]:
    told: dict[str, Any] = {"table": offer.place, "columns": list(offer.columns)}
    told |= {"name": called} if called else {}
    return told if offer.key else told | {"append_only": True}


def _sampled(sample: Sample) -> dict[str, Any]:
    rules = [{"name": heading} for heading in sample.headings]
    key = [sample.headings[0]]
    return {
        "table": _part(sample.table),
        "files": sample.files,
        "mode": "snapshot",
        "key": key,
        "rules": rules,
    }


def _sample(sample: Sample) -> str:
    told = _sampled(sample)
    rules = [f"          - {{name: {_quoted(heading)}}}" for heading in sample.headings]
    lines = [
        f"      - table: {_quoted(told['table'])}",
        f"        files: {_quoted(sample.files)}",
        "        # snapshot: each file is the whole table, and what is missing in it is deleted. delta: only what changed.",
        "        mode: snapshot",
        "        # The first column, as a guess: name those that tell one row from every other.",
        f"        key: [{_quoted(told['key'][0])}]",
        "        # Every column is text until you say more: kind, required, pattern, values (docs/dropfolder.md).",
        "        rules:",
        *rules,
    ]
    return "\n".join(lines) + "\n"


def _part(name: str) -> str:
    """A name without a schema, as the settings write it."""
    return '"' + name.replace('"', '""') + '"' if "." in name or '"' in name else name


def _table(offer: Offer, called: str, kind: str) -> str:
    columns = ", ".join(_quoted(column) for column in offer.columns)
    lines = [
        f"      - table: {_quoted(offer.place)}  # {offer.size}, key {', '.join(offer.key) or 'none'}",
        *([f"        name: {_quoted(called)}"] if called else []),
        f"        columns: [{columns}]",
    ]
    if kind == "polling":
        lines.append(
            "        # watermark: COLUMN  # one that rises with every change; without it, only comparison"
        )
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
