"""What both daemons share as processes: settings from YAML, secrets, logs, signals and the word to systemd.

Only this room reads the environment.
"""

from proto.process.logs import configure_logging, set_level
from proto.process.memory import keep_memory_small, look_for_cycles_seldom
from proto.process.secrets import MissingSecret, expand
from proto.process.service import Notifier, stop_on_signals
from proto.process.settings import Section, SettingsError, load_settings
from proto.process.yaml_file import Fault

__all__ = [
    "Fault",
    "MissingSecret",
    "Notifier",
    "Section",
    "SettingsError",
    "configure_logging",
    "expand",
    "keep_memory_small",
    "load_settings",
    "look_for_cycles_seldom",
    "set_level",
    "stop_on_signals",
]
