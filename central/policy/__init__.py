"""What the law says in numbers and words, as data: one profile, so that another regulation needs another file and no code."""

from central.policy.profile import Profile, load_profile, profile_named

__all__ = ["Profile", "load_profile", "profile_named"]
