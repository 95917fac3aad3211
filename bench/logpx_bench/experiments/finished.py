"""What a cell's checkpoint holds: how many finished tasks, what they cost, and moments of L_k in spans of the stream.

A cell that is stopped and gone on with has its work spread over several processes. Each task has noted its own seconds:
their sum over the workers is what the cell is billed, so that its time per sample does not depend on where it was
stopped. For the same reason a ladder of any part of the stream can be put together from the rows.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from logpx import Ladder
from logpx.checkpoint import Checkpoint, Row, chains, lane_size, leading
from logpx_bench.ledger import Bill


@dataclass(frozen=True)
class Span:
    """Samples start … stop − 1 of every stream of the run that a checkpoint is of; `path` None: nothing is kept."""

    path: Path | None
    start: int
    stop: int

    def _rows(self, file: Checkpoint) -> list[Row]:
        return [row for row in file.rows() if self.start <= row.start and row.stop <= self.stop]

    def n_tasks(self) -> int:
        """Finished tasks."""
        if self.path is None or not self.path.exists():
            return 0
        with Checkpoint.open(self.path) as file:
            return len(self._rows(file))

    def worked(self) -> float:
        """Seconds that the finished tasks took, of all workers together; of tasks that overlap, as in a merged
        checkpoint, those of the longer."""
        assert self.path is not None
        with Checkpoint.open(self.path) as file:
            rows, n_streams = self._rows(file), file.facts.get("streams", 1)
            used, _ = chains(rows, n_streams, lane_size(rows, n_streams, n_streams), self.stop)
            return file.seconds({row for chain in used for row in chain})

    def billed(self, bill: Bill, n_workers: int) -> Bill:
        """The bill with all work on these samples, whoever did it, as if these workers had shared it."""
        worked = self.worked()
        return replace(bill, seconds=worked / n_workers, cpu_seconds=worked)


def spans(path: Path, stop: int, n_spans: int) -> list[Ladder]:
    """Ladders of the first `stop` samples of a single stream, cut into spans of one size, in order.

    There are `n_spans` of them, fewer where a finished task is longer than that, none where all reach beyond `stop`.
    """
    with Checkpoint.open(path) as file:
        ((chain,), _) = chains(file.rows(), 1, 1, stop)
        rows = list(leading(chain))
        size = max([stop // n_spans, *(row.n_samples for row in rows)])
        n_whole = rows[-1].stop // size if rows else 0
        return [file.joined(row for row in rows if row.start // size == index) for index in range(n_whole)]
