"""Kills and bad networks for as long as one likes."""
