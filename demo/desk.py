"""What people type at the platform: shown as they type it, and run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from demo.show import Show
from demo.system import System, command, run
from demo.town import Official

Words = tuple[str, ...]


class Desk:
    """``exchange-central`` and ``exchange-agent``, with their settings; the screen shows them without."""

    def __init__(self, system: System, show: Show) -> None:
        self._show = show
        self._settings = ("-c", str(system.central_config))

    def decide(self, who: Official, group: str, *words: str, answered: bool = True) -> str:
        """One decision of a person; what the command said."""
        self._show.typed(_line("exchange-central", (group, "--as", who.person, *words)))
        said = run(command("exchange-central"), *self._by(who, group, words))
        if answered:
            self._show.answered(said)
        return said

    def learn(self, who: Official, group: str, *words: str) -> Any:
        """The same for programs; nothing is shown."""
        return json.loads(run(command("exchange-central"), *self._by(who, group, (*words, "--json"))))

    def manage(self, *commands: Words, answered: bool = False) -> None:
        """What is done on the platform's machine, some at the same time."""
        for words in commands:
            self._show.typed(_line("exchange-central", words), whole=False)
        with ThreadPoolExecutor(2) as hands:
            said = list(hands.map(self._managed, commands))
        if answered:
            self._show.answered("".join(said))

    def ask(self, *words: str) -> Any:
        """Something for programs that nobody in particular asks; nothing is shown."""
        return json.loads(self._managed((*words, "--json")))

    def at_node(self, config: str, *words: str, answered: bool = True) -> str:
        """A command of the department's own node."""
        self._show.typed(_line("exchange-agent", words))
        said = run(command("exchange-agent"), *words, "-c", config)
        if answered:
            self._show.answered(said)
        return said

    def _managed(self, words: Sequence[str]) -> str:
        return run(command("exchange-central"), *words, *self._settings)

    def _by(self, who: Official, group: str, words: Words) -> Words:
        return (group, *self._settings, "--as", who.person, *words)


def _line(program: str, words: Sequence[str]) -> str:
    return " ".join((program, *map(_quoted, words)))


def _quoted(word: str) -> str:
    """As a person writes it: quotes only where the shell needs them."""
    return (
        word
        if word and not set(word) & set(" '\"$&|;<>()*~`\\")
        else shlex.quote(word)
        if "'" not in word
        else f'"{word}"'
    )
