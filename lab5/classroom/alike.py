"""Hand-ins that look alike: something for a person to look at, never a verdict, and no points.

What everybody was given does not count: the portraits leave out what the template, the assignment and
this package give, and here goes what a third of the class has.
"""

from __future__ import annotations

import base64
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from lab5.grading.portrait import SIDE, Portrait

Kind = Literal["notebook", "report", "weights", "scales", "code", "picture"]

MIN_STATEMENTS: Final = 6  # that two notebooks must have in common …
MIN_SHARE: Final = 0.5  # … and as a part of the own ones of that with fewer
APART: Final = 6  # grey levels of 256 between two pictures that are one, compressed or scaled anew
_ROWS: Final = 1000  # that are multiplied at once


@dataclass(frozen=True)
class Likeness:
    """What hand-ins have in common.

    Args:
        where: for each of them the page that shows the picture, or how many statements are its own.
        common: the statements of which each is in at least two of them.
    """

    kind: Kind
    where: tuple[int, ...] = ()
    common: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Hand-ins, by their keys in order, and all that they have in common."""

    keys: tuple[str, ...]
    likenesses: tuple[Likeness, ...]


def groups(portraits: Mapping[str, Portrait]) -> list[Group]:
    """Those of a class, that with the most in common first.

    Args:
        portraits: by the hand-ins' keys.
    """
    found: dict[tuple[str, ...], list[Likeness]] = defaultdict(list)
    for part in ("notebook", "report", "weights", "scales"):
        for keys in _equal(portraits, part):
            found[keys].append(Likeness(part))
    for keys, likeness in (*_codes(portraits), *_pictures(portraits)):
        file: Kind = "notebook" if likeness.kind == "code" else "report"
        if Likeness(file) not in found.get(keys, ()):  # which says it all
            found[keys].append(likeness)
    made = [Group(keys, tuple(likenesses)) for keys, likenesses in found.items()]
    return sorted(made, key=lambda group: (-len(group.likenesses), len(group.keys), group.keys))


def _everybodys(count: int, of: int) -> bool:
    return count > max(5, of / 3)


def _equal(portraits: Mapping[str, Portrait], part: str) -> Iterator[tuple[str, ...]]:
    having: dict[str, list[str]] = defaultdict(list)
    for key, portrait in portraits.items():
        if digest := getattr(portrait, part):
            having[digest].append(key)
    yield from (tuple(sorted(keys)) for keys in having.values() if len(keys) > 1)


def _codes(portraits: Mapping[str, Portrait]) -> Iterator[tuple[tuple[str, ...], Likeness]]:
    """Notebooks with the same statements, however these are ordered, named and explained."""
    counts = Counter(one for portrait in portraits.values() for one in set(portrait.code))
    rare = {one for one, count in counts.items() if not _everybodys(count, len(portraits))}
    own = {key: set(portrait.code) & rare for key, portrait in portraits.items()}
    own = {key: mine for key, mine in own.items() if len(mine) >= MIN_STATEMENTS}
    keys, shared = list(own), sorted(one for one in rare if counts[one] > 1)
    if not shared:
        return
    number = {one: i for i, one in enumerate(shared)}
    having = np.zeros((len(keys), len(shared)), np.float32)
    for row, key in enumerate(keys):
        having[row, [number[one] for one in own[key] if one in number]] = 1
    sizes = np.array([len(own[key]) for key in keys])

    def near(common: np.ndarray, rows: slice) -> np.ndarray:
        least = np.minimum(sizes[rows, None], sizes)
        return (common >= MIN_STATEMENTS) & (common >= MIN_SHARE * least)  # type: ignore[no-any-return]

    for members in _components(len(keys), _pairs(having, near)):
        if len(members) < 2:
            continue
        mine = {keys[i]: own[keys[i]] for i in members}
        often = Counter(one for statements in mine.values() for one in statements)
        common = tuple(sorted(one for one, count in often.items() if count > 1))
        names = tuple(sorted(mine))
        yield names, Likeness("code", tuple(len(mine[key]) for key in names), common)


def _pictures(portraits: Mapping[str, Portrait]) -> Iterator[tuple[tuple[str, ...], Likeness]]:
    """Reports with the same picture; of two such in one report the first stands for both."""
    showing: dict[str, list[tuple[str, int]]] = defaultdict(
        list
    )  # how it looks -> who, on which page
    for key, portrait in portraits.items():
        for one in portrait.pictures:
            showing[one.greys].append((key, one.page))
    if not showing:
        return
    greys = np.array([np.frombuffer(base64.b64decode(one), "u1") for one in showing])
    looks = greys.astype(np.float32) - 128
    lengths = (looks**2).sum(axis=1)

    def near(products: np.ndarray, rows: slice) -> np.ndarray:
        """What is not further apart than pictures that are nowhere ``APART``."""
        squares = lengths[rows, None] + lengths - 2 * products
        return squares <= (APART * SIDE) ** 2 + 16  # type: ignore[no-any-return]  # 16: rounding

    def same(pairs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for found in pairs:
            for start in range(0, len(found), _ROWS):
                part = found[start : start + _ROWS]
                differences = np.abs(looks[part[:, 0]] - looks[part[:, 1]])
                yield part[differences.max(axis=1) <= APART]

    known = list(showing.values())
    for members in _components(len(known), same(_pairs(looks, near))):
        pages: dict[str, int] = {}
        for key, page in sorted(one for i in members for one in known[i]):
            pages.setdefault(key, page)
        keys = tuple(sorted(pages))
        if len(keys) > 1 and not _everybodys(len(keys), len(portraits)):
            yield keys, Likeness("picture", tuple(pages[key] for key in keys))


def _pairs(
    rows: np.ndarray, near: Callable[[np.ndarray, slice], np.ndarray]
) -> Iterator[np.ndarray]:
    """The pairs (N, 2) of rows that are ``near``, the smaller number first.

    Args:
        rows: (N, M) float32. All are multiplied with all, some milliseconds for a thousand.
        near: which products (n, N), of the slice's rows with all, are of such a pair.
    """
    for start in range(0, len(rows), _ROWS):
        part = slice(start, min(start + _ROWS, len(rows)))
        found = np.argwhere(np.triu(near(rows[part] @ rows.T, part), start + 1))
        yield found + np.array([start, 0])


def _components(count: int, pairs: Iterable[np.ndarray]) -> list[list[int]]:
    """Which of 0 to ``count`` - 1 hang together by ``pairs``; each is in one of the lists."""
    above = list(range(count))

    def top(i: int) -> int:
        while above[i] != i:
            above[i] = above[above[i]]
            i = above[i]
        return i

    for found in pairs:
        for one, other in found.tolist():
            above[top(one)] = top(other)
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(count):
        members[top(i)].append(i)
    return list(members.values())
