"""One command at a time on a run's folder: two would submit every stage twice."""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from launching.run_folder import RunFolder, unwritable

LOCK_FILE = "lock"


@contextmanager
def locked(run: RunFolder) -> Iterator[None]:
    """Hold a run's lock, which the system releases with the process, however that ends.

    The file stays, as another process may have opened it. Jobs do not ask for it.

    Raises:
        ValueError: if another process holds it, or the folder cannot be written or locked.
    """
    path = run.path / LOCK_FILE
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        # NFS gives an exclusive lock only on what is open for writing.
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise unwritable(run.path, error) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise ValueError(
                "A run must be started by one command at a time, but "
                f"{file.read().strip() or 'another process'} is at work on {run.path}. Wait until "
                "it has submitted its jobs or ended, and give the command again; "
                f"`python experiments/status.py {run.path}` shows how the run goes."
            ) from None
        except OSError as error:
            raise ValueError(
                "A run folder must be on a file system that can lock files, but "
                f"{path} cannot be locked ({error.strerror}). Name another with `--run-folder`."
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
