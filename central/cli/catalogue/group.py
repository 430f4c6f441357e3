"""The group, and what its commands share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from central.cli.counter import AnywhereGroup, Ways, counter, ways
from central.cli.output import say, say_json
from proto.errors import Refused

if TYPE_CHECKING:
    from central.policy import Profile

REGISTRAR: Final = "Commands of the registrar"
AUDITOR: Final = "Commands of the auditor"
AUTHORITY: Final = "Commands of the authority"
RELEASES: Final = "Commands about releases"
LOOK: Final = "Commands that only look"
CHECKS: Final = "Commands that check"
PANELS: Final = (LOOK, REGISTRAR, AUDITOR, AUTHORITY, RELEASES, CHECKS)


class PanelGroup(AnywhereGroup):
    """Its commands under the headings of PANELS: too many for one list. Each command names its own."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """One section for each heading, names in one column throughout; who names none stands in the last."""
        width = max(map(len, self.commands))
        for panel in (*PANELS, None):
            rows = [
                (name.ljust(width), command.get_short_help_str(formatter.width - 6 - width))
                for name, command in self.commands.items()
                if getattr(command, "rich_help_panel", None) == panel and not command.hidden
            ]
            if rows:
                with formatter.section(panel or "Commands"):
                    formatter.write_dl(rows)


app = typer.Typer(
    help="Entries on their way, what is in force, signed releases, the check.",
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=ways,
    cls=PanelGroup,
)
Code = Annotated[str, typer.Argument(help="The entry's code.")]
Codes = Annotated[list[str], typer.Argument(help="The entries' codes, one or more.")]
Opinion = Annotated[str, typer.Option("--opinion", help="In a few words; kept in the history.")]
Why = Annotated[str, typer.Option("--opinion", help="Why; kept in the history.", prompt=True)]
Out = Annotated[Path, typer.Option("--out", "-o", help="File to write.")]


def done(context: typer.Context, verb: str, as_json: bool, **arguments: Any) -> None:
    """Do one verb that moves an entry; say where it is now and whose move it is."""
    with counter(context) as desk:
        answer = desk.do(f"catalogue.{verb}", **arguments)
    if as_json:
        say_json(answer)
    else:
        _say_where(answer)


def done_each(
    context: typer.Context, verb: str, codes: Sequence[str], as_json: bool, **arguments: Any
) -> None:
    """The same verb for one entry after the other; the first that is refused ends it, those before it are done."""
    answers = []
    with counter(context) as desk:
        for code in dict.fromkeys(codes):
            answers.append(desk.do(f"catalogue.{verb}", code=code, **arguments))
            if not as_json:
                _say_where(answers[-1])
    if as_json:
        say_json(answers[0] if len(answers) == 1 else answers)


def _say_where(answer: dict[str, Any]) -> None:
    say(f"{answer['code']} version {answer['version']} is {answer['state']}")
    for each in answer.get("findings", ()):
        say(f"  {each['severity']} {each['rule']} {each['field']}: {each['what']} — {each['fix']}")
    for each in answer.get("repeats", ()):
        say(
            f"  others have it: {each['standard']} in {each['code']} {each['resource']}; submit asks for a --reason"
        )
    say(f"next: {answer['next'].replace('CODE', answer['code'])}")


def profile_of(context: typer.Context) -> Profile:
    """The policy that central's settings name; the standard one where there are no settings."""
    from central.cli.options import settings_of
    from central.daemon.office import profile_of as of_settings
    from central.policy import profile_named

    told = context.find_object(Ways)
    if told is None or not told.config.is_file():
        return profile_named()
    return of_settings(settings_of(told.config))


def document_in(path: Path) -> Any:
    """The JSON or YAML document in *path*; raises Refused."""
    from proto.process.yaml_file import read_document

    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Refused("cannot be read as UTF-8 text", where=str(path)) from error
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise Refused(f"is not JSON: {error}", where=str(path)) from error
    document = read_document(text)
    if document.faults:
        first = document.faults[0]
        raise Refused(first.what, where=f"{path}:{first.at.line}:{first.at.column}")
    return document.data


def write_text(path: Path, text: str) -> None:
    """Write *text*; raises Refused."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", where=str(path)) from error
