"""Which machine a figure was measured on."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

_INT8_FLAGS: Final = ("avx512_vnni", "avx_vnni", "avx_vnni_int8", "amx_int8", "asimddp", "i8mm")
_PACKAGES: Final = ("torch", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int  # logical
    int8_instructions: tuple[str, ...] | None  # what the CPU has for 8-bit products; None: not told
    system: str
    versions: dict[str, str]


def cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def this_machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> Machine:
    facts: dict[str, str] = {}
    if cpuinfo.exists():
        lines = cpuinfo.read_text(errors="replace").splitlines()
        facts = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    flags = facts.get("flags", facts.get("Features"))  # x86's word and ARM's
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Machine(
        cpu=facts.get("model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        int8_instructions=None
        if flags is None
        else tuple(f for f in _INT8_FLAGS if f in flags.split()),
        system=f"{platform.system()} {platform.machine()}",
        versions=versions,
    )
