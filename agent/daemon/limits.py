"""What the settings say about push, as push takes it."""

from __future__ import annotations

from agent.push import PushLimits
from agent.settings import Settings


def push_limits(settings: Settings) -> PushLimits:
    """What the settings say about push."""
    limits, central = settings.limits, settings.central
    return PushLimits(
        window_batches=limits.window_batches,
        window_bytes=limits.window_bytes,
        memory_bytes=limits.memory_bytes,
        welcome_s=central.welcome_timeout_s,
        progress_s=central.progress_timeout_s,
    )
