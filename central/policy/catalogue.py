"""What the profile says about the catalogue."""

from proto.process import Section


class CataloguePolicy(Section):
    """Articles 5, 7, 13–16, 40."""

    platform_levels: tuple[str, ...]
    """Where a platform may exist (Art. 8)."""
    basis_needed_for: tuple[str, ...]
    """Share types that need a structured legal basis."""
    condition_needed_for: tuple[str, ...]
    """Share types that need a condition."""
    verification_needed_for: tuple[str, ...]
    """Share types that the authority must verify (核定) before they take effect."""
