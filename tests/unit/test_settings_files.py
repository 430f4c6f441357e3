"""A broken settings file is answered with every fault and its place, a good one with a frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, SecretStr, ValidationError, field_validator

from proto.process import Section, SettingsError, load_settings


class Slot(Section):
    """A source that listens to a log."""

    kind: Literal["postgresql"]
    name: str
    dsn: SecretStr
    slot: str = "exchange"
    batch_rows: int = Field(20_000, gt=0)


class Folder(Section):
    """A source that looks into a folder."""

    kind: Literal["dropfolder"]
    name: str
    path: Path


class Central(Section):
    """Where batches go."""

    address: str = "central:7443"
    timeout_s: float = 30.0
    tls: bool = True

    @field_validator("address")
    @classmethod
    def _has_port(cls, value: str) -> str:
        if ":" not in value:
            raise ValueError("an address is host:port")
        return value


class Node(Section):
    """The whole file."""

    node: str
    central: Central = Central()
    window: str | None = None
    limits: dict[str, int] = Field(default_factory=dict)
    sources: list[Annotated[Slot | Folder, Field(discriminator="kind")]] = Field(default_factory=list)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a settings file into the working directory and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> str:
        Path("agent.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "agent.yaml"

    return write


GOOD = """\
node: hr-node  # 人社局
central: {address: "central.gov:7443", timeout_s: 2.5, tls: false}
window: "22:00:00"
limits: {rows: 10, on: 3}
sources:
  - kind: postgresql
    name: 人事库
    dsn: postgresql://reader:${env:DB_PASSWORD}@db/hr
  - {kind: dropfolder, name: inbox, path: /srv/in}
"""


def test_a_good_file_becomes_a_frozen_model(write, monkeypatch):
    """Values keep their types, secrets their silence, and nobody can change them later."""
    monkeypatch.setenv("DB_PASSWORD", "p@ss/word:é")

    settings = load_settings(write(GOOD), Node)
    slot = settings.sources[0]

    assert (settings.window, settings.central.timeout_s, settings.central.tls) == ("22:00:00", 2.5, False)
    assert settings.limits == {"rows": 10, "on": 3}
    assert isinstance(slot, Slot)
    assert slot.dsn.get_secret_value() == "postgresql://reader:p%40ss%2Fword%3A%C3%A9@db/hr"
    assert "p%40ss" not in repr(settings)
    with pytest.raises(ValidationError):
        settings.node = "other"


BROKEN = {
    "empty": ("", ["1:1: the file holds no settings"]),
    "only comments": ("# nothing\n", ["1:1: the file holds no settings"]),
    "a list": ("- a\n", ["1:1: the file must be a mapping of settings"]),
    "a word": ("hello\n", ["1:1: the file must be a mapping of settings"]),
    "misspelt section": (
        "node: a\ncentrall: {}\n",
        ["2:1: centrall: unknown setting, did you mean central?"],
    ),
    "misspelt inside": (
        "node: a\ncentral:\n  timeout: 3\n",
        ["3:3: central.timeout: unknown setting, did you mean timeout_s?"],
    ),
    "misspelt in a union": (
        "node: a\nsources:\n  - kind: postgresql\n    name: x\n    dsn: y\n    batchsize: 3\n    batch-row: 7\n",
        [
            "6:5: sources.0.batchsize: unknown setting, did you mean batch_rows?",
            "7:5: sources.0.batch-row: unknown setting, did you mean batch_rows?",
        ],
    ),
    "the other kind's setting": (
        "node: a\nsources:\n- {kind: dropfolder, name: x, path: /in, slot: s}\n",
        ["3:42: sources.0.slot: unknown setting"],
    ),
    "unknown kind": (
        "node: a\nsources:\n  - kind: oracle\n",
        [
            "3:5: sources.0: Input tag 'oracle' found using 'kind' does not match any of the expected tags: "
            "'postgresql', 'dropfolder'"
        ],
    ),
    "missing": ("central: {}\n", ["1:1: node: is missing"]),
    "missing inside": (
        "node: a\nsources:\n  - kind: dropfolder\n    name: x\n",
        ["3:5: sources.0.path: is missing"],
    ),
    "wrong type": (
        "node: a\ncentral:\n  timeout_s: soon\n",
        [
            "3:14: central.timeout_s: Input should be a valid number, unable to parse string as a number",
        ],
    ),
    "number for text": ("node: 12\n", ["1:7: node: Input should be a valid string; put it in quotes"]),
    "own rule": ("node: a\ncentral: {address: host}\n", ["2:20: central.address: an address is host:port"]),
    "twice": ("node: a\nnode: b\n", ["2:1: node: given twice, first in line 1"]),
    "no": (
        "node: no\n",
        [
            '1:7: node: no is a word to some and true or false to others: write "no" in quotes, or true or false'
        ],
    ),
    "time": (
        "node: a\nwindow: 12:30:00\n",
        [
            "2:9: window: 12:30:00 is not read as the same number everywhere: "
            'write "12:30:00" in quotes, or a plain decimal number'
        ],
    ),
    "octal": (
        "node: a\nlimits: {rows: 010}\n",
        [
            '2:16: limits.rows: 010 is not read as the same number everywhere: write "010" in quotes, or a plain decimal number'
        ],
    ),
    "not a number": (
        "node: a\ncentral: {timeout_s: .nan}\n",
        [
            "2:22: central.timeout_s: .nan is not read as the same number everywhere: "
            'write ".nan" in quotes, or a plain decimal number'
        ],
    ),
    "tag": (
        "node: !!python/object/apply:os.system [id]\n",
        ["1:7: tag !!python/object/apply:os.system: only plain values are allowed"],
    ),
    "alias bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        [
            "2:8: alias *a: write the value out, aliases are not allowed",
            "2:12: alias *a: write the value out, aliases are not allowed",
            "3:5: alias *b: write the value out, aliases are not allowed",
            "3:9: alias *b: write the value out, aliases are not allowed",
        ],
    ),
    "alias to itself": ("a: &a [*a]\n", ["1:8: alias *a: write the value out, aliases are not allowed"]),
    "deep": ("a: " + "[" * 5000, ["1:35: nested more than 32 levels deep"]),
    "two documents": ("node: a\n---\nnode: b\n", ["2:1: a second document: only one is allowed"]),
    "a list as key": ("[a]: b\n", ["1:1: a key must be a word", "1:1: node: is missing"]),
    "tab": (
        "node: a\n\tcentral: 1\n",
        [
            "2:1: not YAML: while scanning for the next token found character '\\t' that cannot start any token"
        ],
    ),
    "open bracket": (
        "node: [a\n",
        ["2:1: not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'"],
    ),
    "control character": ("node: a\nwindow: \x07\n", ["2:9: character U+0007 is not allowed"]),
    "not UTF-8": ("node: 人\n".encode("gbk"), ["1:7: not UTF-8 text"]),
    "too large": ("#" * 300_000, ["1:1: larger than 262144 bytes"]),
    "missing variable": (
        "node: ${env:NO_SUCH_VARIABLE}\n",
        ["1:7: node: the environment has no variable NO_SUCH_VARIABLE"],
    ),
    "missing file": (
        "node: a\nwindow: x-${file:/no/such/file}\n",
        ["2:9: window: /no/such/file cannot be read: No such file or directory"],
    ),
    "no credentials": (
        "node: ${cred:key}\n",
        ["1:7: node: credential key is not there: the unit has no LoadCredential= for it"],
    ),
    "credential outside": (
        "node: ${cred:../key}\n",
        [
            "1:7: node: ${cred:../key} is not ${env:NAME}, ${file:/path} or ${cred:NAME}; a literal ${ is written $${"
        ],
    ),
    "everything at once": (
        "nod: a\ncentral:\n  tls: yes\n  timeout_s: x\n  tls: true\nsources: 3\n",
        [
            "1:1: node: is missing",
            "3:8: central.tls: yes is a word to some and true or false to others: "
            'write "yes" in quotes, or true or false',
            "4:14: central.timeout_s: Input should be a valid number, unable to parse string as a number",
            "5:3: central.tls: given twice, first in line 3",
            "6:10: sources: Input should be a valid list",
            "1:1: nod: unknown setting, did you mean node?",
        ],
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_every_fault_is_named_with_its_place(case, write, monkeypatch):
    """All faults of a file at once, each as file:line:column: what is wrong."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    text, expected = BROKEN[case]

    with pytest.raises(SettingsError) as caught:
        load_settings(write(text), Node)

    assert sorted(str(caught.value).splitlines()) == sorted(f"agent.yaml:{line}" for line in expected)


def test_a_file_that_is_not_there_is_named(write):
    """The path is in the message."""
    with pytest.raises(SettingsError, match=r"^/no/such/agent\.yaml:1:1: cannot be read: No such file"):
        load_settings("/no/such/agent.yaml", Node)


class Secrets(Section):
    """One secret and one text."""

    key: SecretStr
    text: str = ""


@pytest.mark.parametrize(
    ("content", "secret"),
    [(b"s3cret\n", "s3cret"), (b"s3cret\r\n", "s3cret"), (b"two\n\n", "two\n"), ("密码 ".encode(), "密码 ")],
)
def test_a_secret_loses_one_newline_and_nothing_else(content, secret, write, tmp_path, monkeypatch):
    """From a file and from a systemd credential alike."""
    (tmp_path / "key").write_bytes(content)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))

    by_file = load_settings(write(f"key: ${{file:{tmp_path}/key}}\n"), Secrets)
    by_credential = load_settings(write("key: ${cred:key}\ntext: $${cred:key} costs $5\n"), Secrets)

    assert by_file.key.get_secret_value() == by_credential.key.get_secret_value() == secret
    assert by_credential.text == "${cred:key} costs $5"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a\0b", "is not text"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * 70_000, "larger"),
    ],
)
def test_a_useless_secret_is_a_fault_that_does_not_tell_it(content, words, write, tmp_path):
    """Empty, binary and endless files are refused at their line."""
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(SettingsError, match=rf"^agent.yaml:2:6: key: .*{words}") as caught:
        load_settings(write(f"text: a\nkey: ${{file:{tmp_path}/key}}\n"), Secrets)
    assert "xxxx" not in str(caught.value)


def test_a_secret_of_the_wrong_kind_is_not_in_the_message(write, monkeypatch):
    """A value that fails its check stays out of the fault."""
    monkeypatch.setenv("LEAK", "hunter2")

    with pytest.raises(SettingsError) as caught:
        load_settings(write("node: a\ncentral: {timeout_s: '${env:LEAK}'}\n"), Node)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("postgresql://u:${env:S}@h/d", "postgresql://u:a%40b@h/d"),
        ("postgresql://${env:S}:${env:S}@h/d", "postgresql://a%40b:a%40b@h/d"),
        ("postgresql://u:p@h/${env:S}", "postgresql://u:p@h/a@b"),
        ("host=h password=${env:S}", "host=h password=a@b"),
        ("${env:S}", "a@b"),
    ],
)
def test_only_inside_a_urls_user_part_is_a_secret_encoded(text, value, write, monkeypatch):
    """Any password may be used in a database URL as it is."""
    monkeypatch.setenv("S", "a@b")

    assert load_settings(write(f"key: x\ntext: {text}\n"), Secrets).text == value
