"""Where this library lies."""

import os
from pathlib import Path


def put_on_python_path() -> None:
    """Let Python processes that are started from this one find the library where it is not installed.

    Jobs run in conda environments and on other machines of a shared file system, in which only its dependencies are.
    """
    source = str(Path(__file__).resolve().parents[1])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if source not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [source, *paths]))
