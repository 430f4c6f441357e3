"""Made-up people for databases that cannot make them up by themselves. The same ones every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final

SURNAMES, NAMES = "王李张刘陈杨赵黄周吴", "伟芳娜敏静丽强磊军洋"
LAST: Final = ("", "华", "明", "国", "平", "英", "杰", "文")
DISTRICTS: Final = ("历下区", "市中区", "槐荫区", "天桥区", "历城区", "长清区")
SCHOOLS: Final = ("小学", "初中", "高中", "大学")


def people(count: int) -> Iterator[tuple[object, ...]]:
    """The rows of ``person``."""
    born, registered = date(1940, 1, 1), datetime.fromisoformat("2015-01-01")
    for n in range(1, count + 1):
        yield (
            n,
            id_number(n),
            SURNAMES[n % 10] + NAMES[n // 10 % 10] + LAST[n // 100 % 8],
            n % 2,
            str(born + timedelta(days=n * 31 % 30_000)),
            DISTRICTS[n // 3 % len(DISTRICTS)],
            n // 3,
            None if n % 7 == 0 else f"13{n * 104_729 % 999_999_999:09d}",
            f"{n * 37 % 9_999_999 // 100}.{n * 37 % 100:02d}",
            json.dumps({"民族": "汉族", "学历": SCHOOLS[n % 4]}, ensure_ascii=False),
            str(registered + timedelta(seconds=n % 300_000_000)),
        )


def households(count: int) -> Iterator[tuple[object, ...]]:
    """The rows of ``household``."""
    for n in range(count):
        yield DISTRICTS[n % 6], n, f"经十路{n % 29_999}号{n % 32}单元{n % 2500}室", 3


def id_number(n: int) -> str:
    """The number of the n-th person."""
    return f"3701{n * 7919 % 99999999999999:014d}"
