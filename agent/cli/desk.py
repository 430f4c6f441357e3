"""``ask``: what the department's people decide at the platform's desk, through the identity of their node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.cli.asking import client
from agent.cli.console import STANDARD, AsJson, Config, say, say_json, told

if TYPE_CHECKING:
    from proto.v1 import desk_pb2

Verb = Annotated[str, typer.Argument(help="What to do, e.g. catalogue.list; left out: what there is to do.")]
Arguments = Annotated[
    list[str] | None, typer.Argument(help="key=value for each argument, or all of them as one JSON object.")
]
Person = Annotated[str, typer.Option("--person", "-p", help="Who decides: a person of this department.")]


def ask(
    verb: Verb = "",
    arguments: Arguments = None,
    person: Person = "",
    config: Config = STANDARD,
    as_json: AsJson = False,
) -> None:
    """Do something at the platform's desk, or list what there is to do.

    Examples: exchange-agent ask catalogue.search text=人口 --person li-na, or with everything at once:
    exchange-agent ask sharing.request '{"resource": "…", "items": ["姓名"]}' --person li-na
    """
    with told(), client(config) as agent:
        if not verb:
            _list(agent.verbs(), as_json)
            return
        described = next((each for each in agent.verbs() if each.name == verb), None)
        said = json.dumps(_arguments(arguments or [], described), ensure_ascii=False)
        answer = json.loads(agent.ask(verb, said, person))
    if as_json:
        say_json(answer)
    else:
        _show(answer)


def _list(verbs: list[desk_pb2.VerbDescription], as_json: bool) -> None:
    if as_json:
        said = [
            {
                "name": each.name,
                "help": each.help,
                "roles": list(each.roles),
                "writes": each.writes,
                "arguments": json.loads(each.arguments or "{}"),
            }
            for each in verbs
        ]
        say_json(said)
        return
    from agent.cli.picture import table

    rows = [(each.name, ", ".join(_needed(each)), ", ".join(each.roles) or "–", each.help) for each in verbs]
    table(("verb", "arguments", "roles", "what it does"), rows)


def _needed(verb: desk_pb2.VerbDescription) -> list[str]:
    """Its arguments by name; those that may be left out in brackets."""
    schema = json.loads(verb.arguments or "{}")
    needed = set(schema.get("required", ()))
    return [name if name in needed else f"[{name}]" for name in schema.get("properties", {})]


def _arguments(words: list[str], verb: desk_pb2.VerbDescription | None) -> dict[str, Any]:
    from proto.errors import Refused

    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            return dict(json.loads(words[0]))
        except ValueError as error:
            raise Refused(f"is not JSON: {error}", where=words[0][:60]) from error
    properties = json.loads(verb.arguments or "{}").get("properties", {}) if verb else {}
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise Refused("is not key=value", where=word[:60], fix="exchange-agent ask: lists the arguments")
        found[name] = _value(value, properties.get(name, {}))
    return found


def _value(text: str, schema: dict[str, Any]) -> Any:
    """As the verb wants it: a list may be written with commas, a text without quotes."""
    kinds = {schema.get("type"), *(each.get("type") for each in schema.get("anyOf", ()))}
    if "array" in kinds and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if kinds & {"integer", "number", "boolean", "object", "array"} or text.lstrip().startswith(("{", "[")):
        try:
            return json.loads(text)
        except ValueError:
            # The desk says better than we what it wanted.
            return text
    return text


def _show(answer: Any) -> None:
    """Lists of objects as tables, objects line by line."""
    from agent.cli.picture import table
    from proto.process.logs import escape

    match answer:
        case [dict(), *_] if all(isinstance(each, dict) for each in answer):
            titles = list(dict.fromkeys(name for each in answer for name in each))
            table(titles, [[_cell(each.get(name)) for name in titles] for each in answer])
        case []:
            say("nothing")
        case dict():
            for name, value in answer.items():
                if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
                    say(f"{escape(name)}:")
                    _show(value)
                else:
                    say(f"{escape(name)}: {_cell(value)}")
        case _:
            say(_cell(answer))


def _cell(value: Any) -> str:
    from proto.process.logs import escape

    if value is None:
        return "–"
    return escape(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
