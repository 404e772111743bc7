"""Archive: the files of a folder that travel with a job, in one zip."""

from __future__ import annotations

import os
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rlhf.errors import ConfigError

LEFT_OUT = {".venv", "runs", "outputs", "multirun"}
"""Folders at the top that stay: environments, and what earlier runs wrote."""
NEVER = {".git", "__pycache__"}
"""Folders that stay wherever they are."""
LARGEST_BYTES = 100 * 2**20
"""Most bytes Ray takes as one archive; models and large data belong on the nodes' own disks."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file, and how many files and bytes it holds."""

    path: Path
    num_files: int
    num_bytes: int
    """Before compression."""

    def __str__(self) -> str:
        """Return the number of files and their size, for a message."""
        return f"{self.num_files} files, {_size(self.num_bytes)}"


def pack(folder: Path, zip_path: Path) -> Archive:
    """Zip a folder: what git would keep if it is in a git checkout, else every file.

    Raises:
        ConfigError: when it is more than a cluster takes; names the largest files.
    """
    files = sorted(name for name in _names(folder) if _is_wanted(folder, name))
    sizes = {name: (folder / name).stat().st_size for name in files}
    total = sum(sizes.values())
    if total > LARGEST_BYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        raise ConfigError(
            f"{folder} holds {_size(total)} to send with the job; at most {_size(LARGEST_BYTES)} "
            "may. The largest are "
            + ", ".join(f"{name} ({_size(sizes[name])})" for name in largest)
            + ": put them on a disk that the nodes share, or have git ignore them"
        )
    with zipfile.ZipFile(
        zip_path, "w", compression=zipfile.ZIP_DEFLATED, strict_timestamps=False
    ) as archive:
        for name in files:
            archive.write(folder / name, name)
    return Archive(zip_path, len(files), total)


def _names(folder: Path) -> list[str]:
    """Return the files below a folder, relative to it."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        known = subprocess.run(asked, cwd=folder, capture_output=True, check=True).stdout
        return list({os.fsdecode(name) for name in known.split(b"\0") if name})
    except (FileNotFoundError, subprocess.CalledProcessError):
        return [
            str((Path(place) / name).relative_to(folder))
            for place, inner in _walk(folder)
            for name in inner
        ]


def _walk(folder: Path) -> list[tuple[str, list[str]]]:
    """Return (place, its files) for every folder below that may travel."""
    found: list[tuple[str, list[str]]] = []
    for place, folders, names in os.walk(folder):
        at_top = Path(place) == folder
        folders[:] = [f for f in folders if f not in NEVER and not (at_top and f in LEFT_OUT)]
        found.append((place, names))
    return found


def _is_wanted(folder: Path, name: str) -> bool:
    parts = Path(name).parts
    stays = parts[0] in LEFT_OUT or not NEVER.isdisjoint(parts)
    return not stays and (folder / name).is_file()


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:.1f} MiB" if num_bytes >= 2**20 else f"{num_bytes / 2**10:.1f} KiB"
