"""Puts the gateway's binary into the wheel, as a script of the environment, and names the machines that it runs on.

`MODELGATE_BINARY` is the binary. The tag is read from it: its processor, and the newest glibc that it asks for.
"""

import os
import re
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MACHINES = {"x64": "x86_64", "AArch64": "aarch64"}


class Binary(BuildHookInterface):  # type: ignore[type-arg]
    """The hook; see above."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # straight from its sources: the binary is found on PATH, or by MODELGATE_BINARY
        named = os.environ.get("MODELGATE_BINARY")
        if not named or not Path(named).is_file():
            raise SystemExit("MODELGATE_BINARY must name the gateway's binary; `make wheel` builds it and the wheel")
        build_data["shared_scripts"] = {str(Path(named).resolve()): "modelgate"}
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform(Path(named))}"


def platform(binary: Path) -> str:
    """The platform part of the wheel's tag, such as `manylinux_2_35_x86_64`."""
    with binary.open("rb") as file:
        elf = ELFFile(file)
        machine = MACHINES.get(elf.get_machine_arch())
        if machine is None:
            raise SystemExit(f"{binary}: no wheel is made for {elf.get_machine_arch()}")
        needed = elf.get_section_by_name(".gnu.version_r")
        if not isinstance(needed, GNUVerNeedSection):
            return f"linux_{machine}"  # linked with another libc, or none
        names = [entry.name for _, entries in needed.iter_versions() for entry in entries]
    newest = max(
        (int(major), int(minor)) for name in names for major, minor in re.findall(r"^GLIBC_(\d+)\.(\d+)", name)
    )
    return f"manylinux_{newest[0]}_{newest[1]}_{machine}"
