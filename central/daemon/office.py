"""Builds the desk of a central from its settings; the commands on central's own machine use the same one."""

from __future__ import annotations

from sqlalchemy import Engine

from central.desk import VERBS, Desk
from central.policy import Profile, load_profile, profile_named
from central.settings import Settings
from proto.signing import Signer


def profile_of(settings: Settings) -> Profile:
    """The policy profile; raises SettingsError or Refused."""
    return load_profile(settings.policy) if settings.policy else profile_named()


def signer_of(settings: Settings) -> Signer | None:
    """What signs for the platform; None when the settings name nothing. Raises Credential."""
    signing = settings.signing
    return Signer.load(signing.certificate, signing.key) if signing else None


def desk_of(settings: Settings, engine: Engine) -> Desk:
    """The desk over *engine*."""
    return Desk(engine, profile_of(settings), signer_of(settings), VERBS)
