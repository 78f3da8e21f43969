"""Scoring many files: what is refused before anything is written, two processes where it pays, and the bar."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from threading import Timer

import pyarrow.parquet as pq
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from deployments.cli.scored_series import Outcome, score_file
from deployments.cli.terminal import err
from quell.adapters.metrics.history_file import is_parquet
from quell.incidents.errors import InvalidInput

PROCESSES = 2
WORTH_PROCESSES_ROWS = 1_000_000  # with fewer, starting processes takes longer than the work
SECONDS_BEFORE_BAR = 2.0
_CSV_BYTES_PER_ROW = 28


def score_files(files: Sequence[Path], folder: Path, *, with_plot: bool) -> list[Outcome]:
    """Outcomes in the order of the files. Raises InvalidInput before anything is written where names collide."""
    refuse_collisions(files, folder)
    prepare(folder, with_plot=with_plot)
    outcomes: dict[Path, Outcome] = {}
    rows = {file: _rows_of(file) for file in files}
    with progress_bar() as bar:
        job = bar.add_task("scoring", total=sum(rows.values()))
        for file, outcome in _each_outcome(rows, folder, with_plot):
            outcomes[file] = outcome
            bar.update(job, advance=rows[file], description=f"scored {file.name}")
    return [outcomes[file] for file in files]


def _each_outcome(rows: dict[Path, int], folder: Path, with_plot: bool) -> Iterator[tuple[Path, Outcome]]:
    """As they are done, largest first; a file that fails does not stop the others."""
    largest_first = sorted(rows, key=lambda file: -rows[file])
    if sum(rows.values()) < WORTH_PROCESSES_ROWS:
        yield from ((file, score_file(file, folder, with_plot)) for file in largest_first)
        return
    # Spawned, not forked: the bar's thread may hold a lock at the moment of the fork.
    with ProcessPoolExecutor(min(PROCESSES, len(rows)), mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(score_file, file, folder, with_plot): file for file in largest_first}
        try:
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], _died(futures[future], folder)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _died(file: Path, folder: Path) -> Outcome:
    said = f"{file}: a worker process died, most likely for want of memory: score fewer or smaller files at once"
    return Outcome(source=str(file), written_to=folder / f"{file.stem}.csv", error=said)


def refuse_collisions(files: Sequence[Path], folder: Path) -> None:
    """Two inputs must not write one output, and no output may replace an input."""
    for stem, times in Counter(file.stem for file in files).items():
        if times > 1:
            same = " and ".join(str(file) for file in files if file.stem == stem)
            raise InvalidInput(f"{same} would both become {folder / f'{stem}.csv'}: score them in separate calls")
    inputs = {file.resolve() for file in files}
    for file in files:
        target = folder / f"{file.stem}.csv"
        if target.resolve() in inputs:
            raise InvalidInput(f"the result of {file} would replace the input {target}: give another folder as --out")


def prepare(folder: Path, *, with_plot: bool) -> None:
    """Make the folder and, for pages, put plotly.js beside them."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if with_plot:
            from deployments.cli.score_plot import put_library

            put_library(folder)
    except OSError as error:
        raise InvalidInput(f"folder {folder} cannot be written to: {error.strerror or error}") from error


def _rows_of(file: Path) -> int:
    """About how many rows a file has; 1 where that cannot be told, and the reader will say why."""
    try:
        if is_parquet(file):
            return int(pq.read_metadata(file).num_rows) or 1
        return file.stat().st_size // _CSV_BYTES_PER_ROW + 1
    except (OSError, ValueError):
        return 1


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on standard error that shows up once the work takes longer than two seconds; only on a terminal."""
    console = err()
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn(),
        console=console, transient=True, disable=not console.is_terminal,
    )  # fmt: skip
    timer = Timer(SECONDS_BEFORE_BAR, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
