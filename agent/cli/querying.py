"""``query``: a business system of this department asks for rows of another's resource, through the node and its key."""

from __future__ import annotations

import json
from typing import Annotated, Final

import typer

from agent.cli.asking import client
from agent.cli.console import STANDARD, AsJson, Config, say, say_json, told

Resource = Annotated[str, typer.Argument(help="The resource's code, as the catalogue has it.")]
System = Annotated[str, typer.Option("--system", help="Which system asks, as the grant names it.")]
Purpose = Annotated[str, typer.Option("--purpose", help="What for; goes on record with every question.")]
Key = Annotated[list[str] | None, typer.Option("--key", help="COLUMN=VALUE of each key column; repeated.")]
Where = Annotated[
    str, typer.Option("--where", help="A condition, e.g. \"region = '370102' and not (name is null)\".")
]
Case = Annotated[str, typer.Option("--case", help="Case number, where the policy asks for one.")]
Most = Annotated[int | None, typer.Option("--most", min=1, help="At most so many rows.")]
VERB: Final = "share.query"


def query(  # noqa: PLR0913, PLR0917 - each is one option of the command line
    resource: Resource,
    system: System,
    purpose: Purpose,
    key: Key = None,
    where: Where = "",
    case: Case = "",
    most: Most = None,
    config: Config = STANDARD,
    as_json: AsJson = False,
) -> None:
    """Ask the platform for rows, as a system that a grant of the mode interface names.

    Example: exchange-agent query 3070101/000001 --system 低保核对 --key id=370102199001011234 --purpose 核对救助申请人 --json
    """
    from proto.process.pairs import pairs_of

    asked = {"resource": resource, "purpose": purpose, "case": case, "where": where or None, "most": most}
    with told(), client(config) as agent:
        said = json.dumps({**asked, "key": pairs_of(key, "--key")}, ensure_ascii=False)
        answer = json.loads(agent.ask(VERB, said, system=system))
    if as_json:
        say_json(answer)
        return
    from agent.cli.picture import table

    names = [each["name"] for each in answer["columns"]]
    table(names, [["NULL" if cell is None else cell for cell in row] for row in answer["rows"]])
    if held := answer.get("held"):
        say(f"mind: {held}")
    whole = "that is all" if answer["is_whole"] else "there may be more: ask more narrowly"
    say(f"{len(answer['rows'])} rows under {answer['grant']} version {answer['version']}; {whole}")
