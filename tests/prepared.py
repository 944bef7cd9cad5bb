"""Jobs that start in milliseconds: forks of a process that has imported what each of them imports first.

To import torch and TransformerLens, or plotly, takes a job of the embedded study longer than its work. So such a
process waits beside each call of Snakemake (`python_of_forks`), and what Snakemake starts as Python is this file: run
as a program, it hands over script, environment and files, and ends as the job ended. A job is a process as ever, in
Snakemake's process group, which reads scripts and modules of its checkout, and can be killed. Slurm starts its jobs as
usual, and so do `make orchard` and `make demo`.
"""

import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

MODULES = (
    *("torch", "transformer_lens.model_bridge", "h5py", "pandas", "scipy.stats"),
    *("plotly.graph_objects", "plotly.io", "jinja2", "bs4"),
)
NOT_FORKED = ("fetch_model", "fetch_dataset")
"""Scripts whose libraries look at the environment, which says that nothing is fetched, as they are imported."""
SOCKET, PYTHON = "PREPARED_SOCKET", "PREPARED_PYTHON"


@contextmanager
def python_of_forks(folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Yield a program for jobs to be started with: forks of this process as it is, which has one thread as yet.

    Parameters
    ----------
    folder
        Where the program may lie; a short path, as of all sockets.
    environment
        The jobs' environment, which is added to.
    """
    for module in MODULES:
        import_module(module)  # where the process that this one is a fork of has not done so
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    life, ours = os.pipe()  # ends with this process, however that ends
    if os.fork() == 0:
        os.close(ours)
        serve(listener, life)
    listener.close()
    os.close(life)
    environment |= {SOCKET: str(folder / "socket"), PYTHON: sys.executable}
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec "${PYTHON}" -IS "{__file__}" "$@"\n')
    program.chmod(0o755)
    try:
        yield program
    finally:
        os.close(ours)


def serve(listener: socket.socket, life: int) -> None:
    """Fork a process for each job that is asked for, until nobody is left who could ask."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    while listener in select.select([listener, life], [], [])[0]:
        asking, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            listener.close()
            os.close(life)
            attend(asking)
        asking.close()
    os._exit(0)


def attend(asking: socket.socket) -> None:
    """Fork the job that is asked for; say how it ended."""
    _, files, _, _ = socket.recv_fds(asking, 1, 3)
    with asking.makefile(encoding="utf-8") as lines:
        wanted = json.loads(lines.readline())
    job = os.fork()
    if job == 0:
        asking.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        run(**wanted)
    for file in files:
        os.close(file)
    _, status = os.waitpid(job, 0)
    asking.sendall(b"%d" % status)
    os._exit(0)


def run(script: str, folder: str, environment: dict[str, str]) -> None:
    """Run a script as Python would, and end this process."""
    import torch

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))  # as Snakemake sets it
    sys.argv = [script]
    sys.path[:0] = [str(Path(script).parent), *environment["PYTHONPATH"].split(os.pathsep)]
    code = 0
    try:
        sys.modules.pop("sitecustomize", None)
        with suppress(ImportError):
            import_module("sitecustomize")  # as each Python does that starts
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if not isinstance(end.code, int | None):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main(arguments: list[str]) -> None:
    """Have a job forked, or start Python, and end as that ends."""
    script = Path(arguments[0])
    if script.suffix != ".py" or script.stem.endswith(NOT_FORKED):
        os.execv(os.environ[PYTHON], [os.environ[PYTHON], *arguments])
    wanted = {"script": arguments[0], "folder": str(Path.cwd()), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(os.environ[SOCKET])
        socket.send_fds(asking, [b" "], [0, 1, 2])
        asking.sendall(json.dumps(wanted).encode() + b"\n")
        status = int(asking.recv(64))
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1:])
