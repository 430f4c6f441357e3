"""``department`` and ``person``: who belongs where, and what each may decide. Works on the database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from central.cli.options import DEFAULT_CONFIG, Config, Reason, Who, settings_of, store_of
from central.cli.output import Json, moment, say, say_json, show, table, whoami
from proto.errors import Refused

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from central.people import Role

departments = typer.Typer(
    help="Departments: add, place a node in one, list.", no_args_is_help=True, rich_markup_mode=None
)
persons = typer.Typer(
    help="People who decide: add with roles, issue a certificate, let leave, list.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Code = Annotated[str, typer.Argument(help="The department's unified social credit code.")]
Name = Annotated[str, typer.Argument(help="The person's name here: a-z, 0-9 and -.")]


@departments.command("add")
def add_department(
    code: Code,
    name: Annotated[str, typer.Option("--name", help="Full name.")],
    region: Annotated[str, typer.Option("--region", help="Region code, e.g. 370100.")],
    level: Annotated[str, typer.Option("--level", help="province, city or county.")] = "city",
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a department known, or correct what is known.

    Example: exchange-central department add 11370000MB2846456X --name 济南市公安局 --region 370100
    """
    from central.people import Office
    from central.people.office import Department

    Office(store_of(settings_of(config))).add_department(
        Department(code, name, region, level), who or whoami()
    )
    say(f"{name} is known as {code}")
    say(
        f"next: exchange-central department place NODE {code}, and exchange-central person add NAME --department {code}"
    )


@departments.command("place")
def place(
    node: Annotated[str, typer.Argument(help="The node.")],
    code: Code,
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say in which department a node stands."""
    from central.people import Office

    Office(store_of(settings_of(config))).place_node(node, code, who or whoami())
    say(f"{node} stands in {code}")


@departments.command("list")
def list_departments(as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """Every department and its nodes."""
    from dataclasses import asdict

    from central.people import Office

    found = Office(store_of(settings_of(config))).departments()
    if as_json:
        say_json([asdict(each) for each in found])
        return
    rows = [
        (each.department, each.name, each.region, each.level, ", ".join(each.nodes) or "–") for each in found
    ]
    show(table(("code", "name", "region", "level", "nodes"), rows))


@persons.command("add")
def add_person(
    name: Name,
    full_name: Annotated[str, typer.Option("--name", help="The name people know.")],
    department: Annotated[str, typer.Option("--department", help="Its code.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="May be repeated; see docs/people.md.")
    ] = None,
    office: Annotated[str, typer.Option("--office", help="科室, as grants name it among their users.")] = "",
    who: Who = "",
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Make a person known with exactly these roles and this office, or change them. Who only asks needs no role.

    Example: exchange-central person add li-na --name 李娜 --department 11370000MB2846456X --role registrar --office 户政科
    """
    from central.people import Office
    from central.people.office import Person

    roles = tuple(_role(each) for each in role or ())
    Office(store_of(settings_of(config))).add_person(
        Person(name, full_name, department, roles, left=False, office=office.strip()), who or whoami()
    )
    where = f", of {office}" if office else ""
    say(f"{full_name}{where} may act as {', '.join(roles) or 'one who asks under a grant'}")
    say(f"next: exchange-central person certificate {name} --out FOLDER, or act here with --as {name}")


@persons.command("certificate")
def certificate(
    name: Name,
    out: Annotated[Path, typer.Option("--out", help="Where to put the files.")],
    days: Annotated[int, typer.Option("--days", min=1, max=825, help="How long it is valid.")] = 365,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Issue a person's key and certificate and register it: with it they decide from anywhere."""
    from central.ca import Authority, write_new
    from central.people.office import actor
    from central.registry import Registry
    from central.store import reading

    settings = settings_of(config)
    engine = store_of(settings)
    with reading(engine) as connection:
        actor(connection, name, "")
    if settings.issuer is None:
        raise Refused(
            "the settings name no issuer", where=str(config), fix="register certificates issued elsewhere"
        )
    issued = Authority.load(settings.issuer.certificate, settings.issuer.key).issue_person(name, days)
    folder = out.absolute()
    issued.write(folder / "person.pem", folder / "person.key")
    write_new(folder / "ca.pem", settings.tls.ca.read_bytes())
    identity = issued.identity
    Registry(engine).add_person(name, identity.fingerprint, identity.not_after_us, whoami())
    say(f"wrote {folder}/person.key, person.pem and ca.pem, valid until {moment(identity.not_after_us)}")
    say(f"next: exchange-central catalogue --at {settings.address} --certificates {folder} list")


@persons.command("leave")
def leave(name: Name, reason: Reason, who: Who = "", config: Config = DEFAULT_CONFIG) -> None:
    """The person decides nothing more, and their certificates are refused; what they decided stays."""
    from central.people import Office
    from central.registry import Registry

    engine = store_of(settings_of(config))
    office = Office(engine)
    office.leave(name, who or whoami(), reason)
    Registry(engine).revoke_person(name, who or whoami(), reason)
    say(f"{name} has left")
    department = next(each.department for each in office.people() if each.person == name)
    _say_what_waits(engine, department)


@persons.command("list")
def list_persons(as_json: Json = False, config: Config = DEFAULT_CONFIG) -> None:
    """Everybody who may decide, and what."""
    from dataclasses import asdict

    from central.people import Office

    found = Office(store_of(settings_of(config))).people()
    if as_json:
        say_json([asdict(each) for each in found])
        return
    rows = [
        (
            each.person,
            each.name,
            each.department,
            each.office or "–",
            "left" if each.left else ", ".join(each.roles) or "–",
        )
        for each in found
    ]
    show(table(("person", "name", "department", "office", "roles"), rows))


def _say_what_waits(engine: Engine, department: str) -> None:
    """Tasks are a role's: who comes next has them, and an empty role shows."""
    from central.people import Role
    from central.people.office import holders
    from central.sharing.steps import waiting_in
    from central.store import reading

    with reading(engine) as connection:
        steps = waiting_in(connection, department)
        next_ones = holders(connection, Role.RESOURCE_ADMIN, department)
    if next_ones:
        say(f"{len(steps)} open steps are now for: {', '.join(next_ones)}")
        return
    for step in steps:
        say(f"{step.request}: {step.kind} waits, and nobody of {department} may decide it")
    say(f"next: exchange-central person add NAME --department {department} --role resource_admin")


def _role(text: str) -> Role:
    from central.people import Role

    try:
        return Role(text)
    except ValueError as error:
        raise Refused(
            f"{text[:40]!r} is no role", where="--role", fix=f"one of: {', '.join(Role)}"
        ) from error
