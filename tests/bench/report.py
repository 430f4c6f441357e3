"""What a benchmark run found: a table for people, JSON for machines, and a picture."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

GOALS: Final = {
    "bulk_vs_native": "≥ 1.00",
    "small_vs_native": "≥ 0.95",
    "copy_vs_pipe": "≥ 0.50",
    "latency_p50_ms": "≤ 25",
    "latency_p99_ms": "≤ 100",
    "peak_rss_mib": "≤ 200",
    "python_cpu_share": "≤ 0.40",
    "delivery_vs_apply": "≥ 0.50",
}


@dataclass(slots=True)
class Findings:
    """Raw figures and what follows from them; keys as in ``build/bench.json``."""

    ratios: dict[str, float] = field(default_factory=dict)
    raw: dict[str, Any] = field(default_factory=dict)
    equal: dict[str, bool] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        figures: dict[str, Any] = {k: v for k, v in self.ratios.items() if not k.startswith("latency")}
        figures["latency_ms"] = {
            "p50": self.ratios.get("latency_p50_ms"),
            "p99": self.ratios.get("latency_p99_ms"),
        }
        figures |= {"equal": self.equal, "raw": self.raw}
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")

    def show(self, console: Console) -> None:
        """Print ratios beside their goals, then the raw figures."""
        ratios = Table(
            "figure", "measured", "goal", title="Our path (two databases, mTLS) beside native (one hop)"
        )
        for name, goal in GOALS.items():
            value = self.ratios.get(name)
            ratios.add_row(name, "—" if value is None else f"{value:.2f}", goal)
        console.print(ratios)
        raw = Table("raw figure", "value")
        for name, value in self.raw.items():
            raw.add_row(name, f"{value:,.2f}" if isinstance(value, float) else str(value))
        console.print(raw)
        for name, equal in self.equal.items():
            console.print(f"{'[green]equal[/]' if equal else '[bold red]DIFFERENT[/]'} {name}")

    def plot(self, path: Path) -> None:
        """Draw rows/s during the backlog and lag during the trickle."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(2, 1, figsize=(9, 7), layout="constrained")
        for name, place, label in (
            ("rows_per_s", 0, "rows/s at central"),
            ("lag_ms", 1, "commit to visible, ms"),
        ):
            for curve, points in self.curves.items():
                if curve.startswith(name):
                    axes[place].plot(
                        *zip(*points, strict=True), label=curve.removeprefix(name).strip(" ,"), lw=1
                    )
            axes[place].set_ylabel(label)
            axes[place].set_xlabel("seconds")
            axes[place].set_ylim(bottom=0)
            axes[place].legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)


def rates(samples: list[tuple[float, int]], window: int = 4) -> list[tuple[float, float]]:
    """Rows per second from running totals, over *window* samples."""
    pairs = zip(samples, samples[window:], strict=False)
    return [(t1, (n1 - n0) / (t1 - t0)) for (t0, n0), (t1, n1) in pairs if t1 > t0]
