"""A policy profile: one YAML file, one frozen model; each room has its own section in a module of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from central.policy.catalogue import CataloguePolicy
from central.policy.days import CalendarPolicy
from central.policy.delivery import DeliveryPolicy
from central.policy.log import LogPolicy
from central.policy.sharing import SharingPolicy
from central.policy.supervision import SupervisionPolicy
from proto.errors import Refused
from proto.process import Section, load_settings

STANDARD: Final = "sd-2015"
_FOLDERS: Final = (
    Path(sys.prefix) / "share" / "exchange-node" / "policy",
    Path(__file__).parents[2] / "config" / "policy",
)


class Profile(Section):
    """Every number and rule that comes from law."""

    name: str
    title: str
    source: str
    """Which text, by number and date."""
    calendar: CalendarPolicy
    catalogue: CataloguePolicy
    sharing: SharingPolicy
    delivery: DeliveryPolicy
    supervision: SupervisionPolicy
    log: LogPolicy
    open_points: tuple[str, ...] = ()
    """What the stored texts leave open, so that nobody takes our choice for law."""


def load_profile(path: Path) -> Profile:
    """The profile in *path*; raises SettingsError with the place of each fault."""
    return load_settings(path, Profile)


def profile_named(name: str = STANDARD) -> Profile:
    """The profile that comes with the program under *name*; raises Refused."""
    for folder in _FOLDERS:
        if (path := folder / f"{name}.yaml").is_file():
            return load_profile(path)
    raise Refused("no such policy profile", where=name, fix="give the path of a profile as 'policy'")
