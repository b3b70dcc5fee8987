"""What keeps the word of the rest: input that is checked, files written whole, work in processes.

Trust it; there is nothing about imitation in here. What is wrong is said before the work begins,
and says what to do.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import operator
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from pickle import PicklingError
from typing import Any, BinaryIO

import cloudpickle
import gymnasium as gym
import joblib
import numpy as np
from tqdm.auto import tqdm

__all__ = [
    "as_action", "as_path", "as_seeds", "each", "found", "in_workers", "ready", "written_whole",
]  # fmt: skip

ROOT = Path(__file__).resolve().parent.parent  # the project's folder
WIDGET = "application/vnd.jupyter.widget-view+json"
STALE = 3_600.0  # s after which a part file is what a killed process left
MOST_SEEDS = 1_000_000  # more are taken for an endless iterator
# A worker that has grown gives way to a new one; nothing is lost, and no reader need worry
warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
END_WITH_PARENT, LOOK_EVERY = "end-with-parent", 1.0  # a worker's thread, and its period, s

# -- files ---------------------------------------------------------------------------------------


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write ``path``'s new content to, which takes its place at the end.

    If anything interrupts the writing, ``path`` keeps its old content. The part written so far goes
    as well; what a killed process left is swept an hour later by the next writer to that folder.

    Raises OSError, naming the file and what to do, where it can't be written.
    """
    part = path.with_name(f".{uuid.uuid4().hex}.part")  # no other process or machine has this name
    with naming_the_setting(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        file = part.open("xb")
    try:
        with file:
            yield file
            with naming_the_setting(path):
                file.flush()
                os.fsync(file.fileno())
        with naming_the_setting(path):
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def check_room(folder: Path, size: int) -> None:
    """Raises OSError, as `written_whole` does, where ``size`` bytes can't be written."""
    trial = folder / ".room"
    with written_whole(trial) as file:
        file.write(bytes(size))
    trial.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    for part in folder.glob(".*.part"):
        with suppress(OSError):  # another process sweeps, too
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()


@contextmanager
def naming_the_setting(path: Path) -> Iterator[None]:
    """An OSError from within says which file it was, and names IL_DATA."""
    try:
        yield
    except OSError as error:
        raise type(error)(
            error.errno,
            f"can't write {path} ({error.strerror or error}); free or choose another place: "
            "IL_DATA names the folder for data",
        ) from error


def folder_named(setting: str, root: Path) -> Path:
    """The folder that a setting names: ``~`` is your home, a relative path begins at ``root``."""
    name = os.path.expanduser(os.environ.get(setting) or "data")
    if name.startswith("~"):
        raise ValueError(f"{setting} is {name!r}; nobody's home is there, so write the folder out")
    return root / name


def found(path: Path) -> list[Path]:
    """Where a file is, to be read: ``path``, a `data_path`, then its like in IL_SHARED; or nowhere.

    Raises ValueError for the home of nobody, and OSError, naming IL_SHARED, where that folder, or
    the file in it, can't be read.
    """
    paths = [path] if path.exists() else []
    if not os.environ.get("IL_SHARED"):
        return paths
    folder = folder_named("IL_SHARED", ROOT)
    shared = folder / path.relative_to(folder_named("IL_DATA", ROOT))
    try:
        os.listdir(folder)
        with suppress(FileNotFoundError), shared.open("rb"):
            paths.append(shared)
    except OSError as error:
        raise type(error)(
            error.errno,
            f"can't read {error.filename} ({error.strerror}); IL_SHARED names the folder that "
            "readers share: ask who keeps it, or unset IL_SHARED, and what is missing is made here",
        ) from error
    return paths


def made_again(made_by: str) -> str:
    """What to do about a file that is no good."""
    shared = "; in a shared folder, ask who keeps it, or unset IL_SHARED"
    return f"delete it and run {made_by} again{shared if os.environ.get('IL_SHARED') else ''}"


def before_saving(model: dict[str, Any], **_: Any) -> None:
    """What JupyterLab calls before it saves a file (jupyter_lab_config.json names it).

    It would note this Python's version, so that git sees a change where a reader has only looked;
    and widgets, bars for one, which a notebook that is opened again has not, and says so in red.
    The cockpit, a widget without words, has a picture for that.
    """
    if model["type"] != "notebook":
        return
    notebook = model["content"]
    for key in ("codemirror_mode", "nbconvert_exporter", "version"):
        notebook["metadata"].get("language_info", {}).pop(key, None)
    for cell in notebook["cells"]:
        if "outputs" in cell:
            seen = ((output, output.get("data", {})) for output in cell["outputs"])
            cell["outputs"] = [
                o for o, data in seen if WIDGET not in data or data.get("text/plain") == ""
            ]


# -- input ---------------------------------------------------------------------------------------


def ready(policy: Any, env: Any) -> None:
    """Reset a policy that has a memory: an object with ``reset``, or a method of such an object.

    Raises TypeError for what is no policy or no environment, ValueError for a teacher of another
    environment.
    """
    if not isinstance(env, gym.Env | gym.vector.VectorEnv):
        raise TypeError(f"env is {env!r}; give an environment, as gymnasium.make makes one")
    if isinstance(policy, type) or not callable(policy):
        name = getattr(policy, "__name__", repr(policy))
        raise TypeError(
            f"{name} is no policy, observation → action; a teacher is bound to its environment, "
            "as in RacingDriver(env), and a network drives by its act"
        )
    owner = getattr(policy, "__self__", policy)
    bound = getattr(owner, "env", None)
    if isinstance(bound, gym.Env) and bound.unwrapped is not env.unwrapped:
        name = type(owner).__name__
        raise ValueError(f"this {name} is bound to another environment: drive with {name}(env)")
    if not isinstance(owner, gym.Env) and callable(getattr(owner, "reset", None)):
        owner.reset()


def as_action(action: Any, space: gym.Space) -> Any:
    """A policy's answer as ``space`` has it: an int, or an array of its own.

    Casts what loses nothing: a list, a tuple, float64, a tensor, a NumPy integer.

    Raises TypeError or ValueError for another shape, for NaN, and outside of the bounds.
    """
    wrong = "the action {!r}, a {},".format  # spelled out only where it is told
    name = type(action).__name__
    if isinstance(space, gym.spaces.Discrete):
        first, last = int(space.start), int(space.start + space.n) - 1
        try:
            number = operator.index(action.item() if isinstance(action, np.ndarray) else action)
            if first <= number <= last:
                return number
        except (TypeError, ValueError):
            pass
        raise ValueError(f"{wrong(action, name)} is no whole number from {first} to {last}")
    low, high, kinds = getattr(space, "low", None), getattr(space, "high", None), "fiu"
    if isinstance(space, gym.spaces.MultiDiscrete):  # a vector environment's
        low, high, kinds = space.start, space.start + space.nvec - 1, "iu"
    assert low is not None, f"actions of {space} are not supported"
    try:
        array = np.asarray(action)
    except (ValueError, RuntimeError) as error:
        raise TypeError(f"{wrong(action, name)} is no array of numbers ({error})") from None
    if array.dtype.kind not in kinds or array.shape != space.shape:
        found = f"{array.dtype} of shape {array.shape}"
        needed = f"it must be {space.dtype} of shape {space.shape}"
        raise TypeError(f"{wrong(action, name)} is {found}; {needed}")
    if not ((array >= low) & (array <= high)).all():  # NaN is neither
        bounds = f"{low} to {high}"
        raise ValueError(f"{wrong(action, name)} has NaN or leaves {bounds}: np.clip it")
    return array.astype(space.dtype)


def as_path(path: Any) -> Path:
    """The path of a file or folder; TypeError, before anything is opened, for what is none."""
    with suppress(TypeError):
        return Path(path)
    raise TypeError(f"path is {path!r}; give the name of a file or folder")


def as_count(name: str, value: Any) -> int:
    """A whole number of 1 or more; ValueError, with its name, for anything else."""
    with suppress(TypeError):
        if (number := operator.index(value)) >= 1:
            return number
    raise ValueError(f"{name} is {value!r}; it must be a whole number, 1 or more")


def as_seeds(seeds: Iterable[int]) -> list[int]:
    """Seeds as a list of ints from 0 to 2⁶³ − 1; NumPy's integers will do.

    Raises TypeError or ValueError for anything else, none at all, and endless iterators.
    """
    if isinstance(seeds, str | bytes) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds is {seeds!r}; give a list or a range of whole numbers")
    given = list(islice(seeds, MOST_SEEDS + 1))
    if not 0 < len(given) <= MOST_SEEDS:
        raise ValueError("no seeds: give one or more" if not given else "are the seeds endless?")
    try:
        whole = [operator.index(seed) for seed in given]
    except TypeError:
        raise TypeError(f"a seed is a whole number; these begin with {given[:3]}") from None
    if min(whole) < 0 or max(whole) >= 2**63:
        raise ValueError("a seed must lie between 0 and 2**63 - 1")
    return whole


def give_memory_back() -> None:
    """Return freed memory to the system at once; glibc keeps it for arrays to come."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


# -- processes -----------------------------------------------------------------------------------


def in_workers(
    function: Callable[..., Any], tasks: Iterable[Any], workers: int, ordered: bool = True
) -> Iterator[Any]:
    """``function(*task)`` for each task, as they come, over so many processes; in order or not.

    A worker computes with one thread, and ends with the process that it works for. There are no
    more of them than processors for this process, in a container, say, or by LOKY_MAX_CPU_COUNT.
    """
    workers = min(workers, joblib.cpu_count())
    if workers == 1:
        yield from (function(*task) for task in tasks)
        return
    calls = (joblib.delayed(_in_worker)(function, task) for task in tasks)
    how = "generator" if ordered else "generator_unordered"
    try:
        with joblib.parallel_config("loky", inner_max_num_threads=1):
            parallel = joblib.Parallel(n_jobs=workers, return_as=how, batch_size=1)
        yield from parallel(calls)
    except PicklingError as error:
        message = f"the policy can't go to another process ({error.__cause__ or error})"
        raise TypeError(f"{message}; use workers=1") from error


def each(
    function: Callable[..., Any],
    tasks: Iterable[tuple[Any, ...]],
    workers: int,
    describe: str = "driving",
    *,
    progress: bool = True,
    known_by: Any = None,
) -> list[Any]:
    """``function(*task)`` for each task, in their order, with a bar: see `in_workers`.

    An interrupt loses nothing that is finished: the same call does the rest. The call is the same
    if function and tasks are, with all that they refer to; or ``known_by``, if that is given.
    """
    tasks = list(tasks)
    try:
        about = cloudpickle.dumps((function, tasks) if known_by is None else known_by)
        key = hashlib.sha256(about).hexdigest()
    except (PicklingError, TypeError):  # then it begins anew
        key = uuid.uuid4().hex
    done: dict[int, Any] = _unfinished.pop(key, {})
    rest = [(function, number, task) for number, task in enumerate(tasks) if number not in done]
    bar = tqdm(
        total=len(tasks), initial=len(done), desc=describe, disable=not progress, leave=False
    )
    try:
        with bar:
            for number, result in in_workers(_numbered, rest, workers, ordered=False):
                done[number] = result
                bar.update()
    except BaseException:
        _unfinished.clear()  # one is enough, and they may be large
        _unfinished[key] = done
        raise
    return [done[number] for number in range(len(tasks))]


_unfinished: dict[str, dict[int, Any]] = {}


def _numbered(function: Callable[..., Any], number: int, task: tuple[Any, ...]) -> tuple[int, Any]:
    return number, function(*task)


def _in_worker(function: Callable[..., Any], task: Any) -> Any:
    if END_WITH_PARENT not in {thread.name for thread in threading.enumerate()}:
        watch = threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True)
        watch.name = END_WITH_PARENT
        watch.start()
    try:
        return function(*task)
    finally:
        give_memory_back()  # or each keeps what its largest lap took


def _end_with_parent(parent: int) -> None:
    """A worker whose parent was killed would wait for five minutes for work that can't come."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)
    os._exit(1)
