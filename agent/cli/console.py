"""What all commands share: options, and how they speak."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from agent.settings import Settings

WRONG: Final = 1
REFUSED: Final = 2
"""The command or the settings are at fault, not the world."""
STANDARD: Final = Path("/etc/exchange-node/agent.yaml")
STANDARD_SOCKET: Final = Path("/run/exchange-agent/agent.sock")
STANDARD_DATA: Final = Path("/var/lib/exchange-agent")
"""As the settings and the systemd unit have them; written again here, so that asking the agent does not load all it is made of."""

Config = Annotated[Path, typer.Option("--config", "-c", help="The agent's settings file.", show_default=True)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")]
Source = Annotated[
    str, typer.Option("--source", "-s", help="Name of the source; not needed if there is only one.")
]


@contextmanager
def told() -> Iterator[None]:
    """Turn an expected failure into one line on standard error and an exit code."""
    from proto.errors import ExchangeError, Refused

    try:
        yield
    except ExchangeError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command speaks to people
        at_fault = isinstance(error, Refused) and error.code != "NOT_RUNNING"
        raise typer.Exit(REFUSED if at_fault else WRONG) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def say(text: str) -> None:
    """One line for a person."""
    print(text)  # noqa: T201 - a command speaks to people


def say_json(data: Any) -> None:
    """One document for a machine."""
    say(json.dumps(data, ensure_ascii=False, indent=2))


def plain(message: Message) -> Any:
    """A message as :func:`say_json` takes it: every field, under the name it has in proto/v1."""
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def load(config: Path) -> Settings:
    """The settings, checked; raises SettingsError with every fault and its place."""
    from agent.settings import Settings
    from proto.process import load_settings

    return load_settings(config, Settings)


def socket_of(config: Path) -> Path:
    """Where the agent of this settings file listens. Read alone: whoever asks need not be able to read its secrets."""
    import yaml

    from proto.errors import Refused

    if not config.exists() and config == STANDARD:
        return STANDARD_SOCKET
    try:
        named = yaml.safe_load(config.read_text(encoding="utf-8-sig"))["socket"]
    except OSError as error:
        raise Refused(
            f"cannot be read: {error.strerror}", where=str(config), fix="name it with --config"
        ) from error
    except (KeyError, TypeError):
        return STANDARD_SOCKET
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(
            "is not valid YAML", where=str(config), fix=f"exchange-agent check --config {config}"
        ) from error
    return Path(named)
