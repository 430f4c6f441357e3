"""Secrets live outside the settings file: ``${env:NAME}``, ``${file:/path}`` or ``${cred:NAME}`` (systemd's ``LoadCredential=``)."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote

from proto.errors import Refused

LIMIT_BYTES: Final = 64 * 1024
_REFERENCE: Final = re.compile(r"\$(\$)?\{([^{}]*)\}")


class MissingSecret(Refused):
    """A secret the settings refer to cannot be had; the message never holds one."""

    code = "SECRET"


def expand(text: str) -> str:
    """Put secrets in the place of references; ``$${`` stands for a literal ``${``.

    Between ``//`` and ``@`` of a URL the secret is percent-encoded, so any password may stand there as it is.
    """

    def replace(found: re.Match[str]) -> str:
        if found[1]:
            return found[0][1:]
        secret = _fetch(found[2])
        return quote(secret, safe="") if _in_userinfo(text, found) else secret

    return _REFERENCE.sub(replace, text)


def _in_userinfo(text: str, found: re.Match[str]) -> bool:
    before, after = text[: found.start()], _REFERENCE.sub("", text[found.end() :])
    return "://" in before and "@" not in before.rpartition("://")[2] and "@" in after.partition("/")[0]


def _fetch(reference: str) -> str:
    scheme, _, name = reference.partition(":")
    match scheme:
        case "env" if name:
            secret = os.environ.get(name)
            if secret is None:
                raise MissingSecret(f"the environment has no variable {name}")
        case "file" if name.startswith("/"):
            secret = _read(Path(name))
        case "cred" if name and "/" not in name and name not in {".", ".."}:
            directory = os.environ.get("CREDENTIALS_DIRECTORY")
            if not directory:
                raise MissingSecret(f"credential {name} is not there: the unit has no LoadCredential= for it")
            secret = _read(Path(directory, name))
        case _:
            raise MissingSecret(
                f"${{{reference}}} is not ${{env:NAME}}, ${{file:/path}} or ${{cred:NAME}}",
                fix="a literal ${ is written $${",
            )
    secret = secret.removesuffix("\n").removesuffix("\r")
    if not secret or "\0" in secret:
        raise MissingSecret(f"the secret {reference} is {'not text' if secret else 'empty'}")
    return secret


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LIMIT_BYTES + 1)
        if len(content) > LIMIT_BYTES:
            raise MissingSecret(f"{path} is larger than {LIMIT_BYTES} bytes")
        return content.decode()
    except OSError as error:
        raise MissingSecret(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MissingSecret(f"{path} is not UTF-8 text") from error
