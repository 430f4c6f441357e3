"""Builds the desk of a central from its settings; the commands on central's own machine use the same one."""

from __future__ import annotations

from sqlalchemy import Engine

from central.catalogue.checking import CheckJob
from central.desk import VERBS, Desk
from central.policy import Profile, load_profile, profile_named
from central.settings import Settings
from proto.errors import Refused
from proto.signing import Signer


def profile_of(settings: Settings) -> Profile:
    """The policy profile; raises SettingsError, and Refused where the law wants no platform (Art. 8)."""
    profile = load_profile(settings.policy) if settings.policy else profile_named()
    levels, level = profile.catalogue.platform_levels, settings.platform.level
    if level not in levels:
        what = f"a platform of level {level} may not be: {profile.catalogue.platform_article}"
        fix = f"one of {', '.join(levels)}; departments of a county enrol at their city's platform"
        raise Refused(what, where="platform.level", fix=fix)
    return profile


def signer_of(settings: Settings) -> Signer | None:
    """What signs for the platform; None when the settings name nothing. Raises Credential."""
    signing = settings.signing
    return Signer.load(signing.certificate, signing.key) if signing else None


def desk_of(settings: Settings, engine: Engine) -> Desk:
    """The desk over *engine*."""
    return Desk(engine, profile_of(settings), signer_of(settings), VERBS, settings.platform)


def check_job_of(settings: Settings, engine: Engine) -> CheckJob:
    """The check of the catalogue that runs by the clock."""
    return CheckJob(engine, profile_of(settings), signer_of(settings), settings.platform)
