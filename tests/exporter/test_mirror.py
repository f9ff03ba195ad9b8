from collections import Counter

import pytest

from temporal_slo.errors import VisibilityError
from temporal_slo.exporter.mirror import SECOND, Mirror
from temporal_slo.exporter.snapshot import ClosedKey, Figures, RunningKey
from temporal_slo.testing import FakeVisibility

from .runs import BEGAN, close, closed, running

GONE = VisibilityError("UNAVAILABLE", "connection refused")
RIDE = RunningKey("Ride", "rides")


class Watched:
    """A mirror of a fake, polled at seconds after its beginning."""

    def __init__(self) -> None:
        self.visibility = FakeVisibility()
        self.mirror = Mirror(self.visibility, BEGAN)

    async def poll(self, at: float) -> Figures:
        """Poll *at* seconds after the beginning; requests are counted anew."""
        self.visibility.requests.clear()
        return await self.mirror.poll(BEGAN + round(at * SECOND))


@pytest.fixture
def watched() -> Watched:
    """A mirror that watches nothing yet."""
    return Watched()


def by_status(figures: Figures) -> Counter[str]:
    """Closed runs by status."""
    counts: Counter[str] = Counter()
    for key, count in figures.closed.items():
        counts[key.status] += count
    return counts


async def test_counts_once(watched: Watched) -> None:
    """A closed run is counted once, however often it is read."""
    watched.visibility.put(closed(1), closed(2, "failed"), closed(2, "timed_out"))
    for at in (3, 4, 5, 70, 75):
        figures = await watched.poll(at)
    assert by_status(figures) == {"completed": 1, "failed": 1, "timed_out": 1}


async def test_every_closed_status(watched: Watched) -> None:
    """Every closed status is counted under Temporal's name in lower case, by type and task queue."""
    watched.visibility.put(closed(1, "continued_as_new"), closed(1, "canceled", workflow_type="Other", task_queue="q"))
    assert (await watched.poll(2)).closed == {
        ClosedKey("Ride", "rides", "continued_as_new", "none"): 1,
        ClosedKey("Other", "q", "canceled", "none"): 1,
    }


async def test_before_beginning(watched: Watched) -> None:
    """Runs that closed before the mirror began are not counted, be they a microsecond too early."""
    watched.visibility.put(closed(-0.000001), closed(-100), closed(0, "failed"))
    assert by_status(await watched.poll(1)) == {"failed": 1}


async def test_idle_poll_is_two_requests(watched: Watched) -> None:
    """With nothing new a poll makes two requests, whatever is stored, open and just closed."""
    watched.visibility.put(*(closed(-n) for n in range(1, 3000)))
    watched.visibility.put(*(running(-n) for n in range(1, 2500)))
    watched.visibility.put(*(closed(n / 1000) for n in range(2200)))
    await watched.poll(3)
    requests = []
    for at in range(200, 500, 15):
        await watched.poll(at)
        requests.append(watched.visibility.requests)
    assert requests == [["running", "closed"]] * len(requests)


async def test_stops_early(watched: Watched) -> None:
    """New rows cost pages by their own number, not by what is stored."""
    watched.visibility.put(*(closed(-n) for n in range(1, 5000)))
    await watched.poll(1)
    watched.visibility.put(*(closed(20 + n / 1000) for n in range(1300)))
    figures = await watched.poll(25)
    assert watched.visibility.requests == ["running", "closed", "closed", "closed"]
    assert by_status(figures) == {"completed": 1300}


async def test_ties_across_pages(watched: Watched) -> None:
    """Runs that close in the same microsecond are all counted, across pages and polls."""
    watched.visibility.put(*(closed(5) for _ in range(1500)))
    await watched.poll(6)
    watched.visibility.put(*(closed(5) for _ in range(700)))
    assert by_status(await watched.poll(7)) == {"completed": 2200}


@pytest.mark.parametrize(("close_at", "seen_at"), [(58.5, 63), (11, 180)])
async def test_late_rows(watched: Watched, close_at: float, seen_at: float) -> None:
    """A row that becomes visible late is counted: by the next poll if by seconds, by the sweep if by minutes."""
    watched.visibility.put(closed(60))
    await watched.poll(61)
    watched.visibility.put(closed(close_at, "failed"))
    assert by_status(await watched.poll(seen_at)) == {"completed": 1, "failed": 1}


async def test_skewed_close_time(watched: Watched) -> None:
    """A close time in the future hides nothing that closes below it, and is counted once."""
    watched.visibility.put(closed(4000, "failed"))
    await watched.poll(1)
    for at in (2, 3, 20, 40, 3990, 4010):
        watched.visibility.put(closed(at - 0.5))
        figures = await watched.poll(at)
        assert figures.closed[ClosedKey("Ride", "rides", "failed", "none")] == 1
    assert by_status(figures) == {"failed": 1, "completed": 6}


@pytest.mark.parametrize("good", range(4))
async def test_failed_poll(watched: Watched, good: int) -> None:
    """A poll that fails at any of its requests counts nothing, and the next counts all of it once."""
    watched.visibility.put(*(running(n / 1000) for n in range(1200)))
    watched.visibility.put(*(closed(n / 1000) for n in range(1100)))
    watched.visibility.errors.extend([*[None] * good, GONE])
    with pytest.raises(VisibilityError):
        await watched.poll(5)
    figures = await watched.poll(8)
    assert (by_status(figures), figures.running) == ({"completed": 1100}, {RIDE: 1200})


async def test_unknown_status(watched: Watched) -> None:
    """Rows of unknown status, a paused run for one, are left out and counted apart, never fatal."""
    watched.visibility.put(closed(1, None), running(1, None), closed(1), running(1))
    figures = await watched.poll(2)
    assert (by_status(figures), figures.running) == ({"completed": 1}, {RIDE: 1})
    assert watched.mirror.unknown_status_rows == 2


async def test_open_run_closes(watched: Watched) -> None:
    """An open run is counted as running until its close is seen, and then its series stays at 0."""
    run = running(-50)
    watched.visibility.put(run)
    assert (await watched.poll(1)).running == {RIDE: 1}
    watched.visibility.put(close(run, 11))
    figures = await watched.poll(15)
    assert (figures.running, figures.oldest_running_age) == ({RIDE: 0}, {"Ride": 0.0})


async def test_closed_run_still_listed_open(watched: Watched) -> None:
    """A run whose close was seen is not taken for open by a listing that lags."""
    run = running(1)
    watched.visibility.put(close(run, 2))
    await watched.poll(3)
    watched.visibility.put(run)
    assert RIDE not in (await watched.poll(4)).running


async def test_new_open_runs(watched: Watched) -> None:
    """Open runs that start later are found without listing the old ones again."""
    watched.visibility.put(*(running(-n) for n in range(1500)))
    await watched.poll(1)
    watched.visibility.put(running(12), running(13, task_queue="other"))
    figures = await watched.poll(15)
    assert figures.running == {RIDE: 1501, RunningKey("Ride", "other"): 1}
    assert watched.visibility.requests == ["running", "closed"]


async def test_reconciliation(watched: Watched) -> None:
    """A run that was deleted while open is forgotten when all open runs are listed again."""
    run = running(-3)
    watched.visibility.put(run, running(-4))
    await watched.poll(1)
    del watched.visibility.runs[run.run_id]
    assert (await watched.poll(100)).running == {RIDE: 2}
    assert (await watched.poll(602)).running == {RIDE: 1}


async def test_oldest_age(watched: Watched) -> None:
    """Age counts from when a run was due: one that waits for its time has none."""
    watched.visibility.put(
        running(-500, due_time=BEGAN - 30 * SECOND),
        running(-11),
        running(-500, workflow_type="Nightly", due_time=BEGAN + 3600 * SECOND),
    )
    assert (await watched.poll(5)).oldest_running_age == {"Ride": 35.0, "Nightly": 0.0}


async def test_durations(watched: Watched) -> None:
    """A duration falls into the bucket whose upper edge it does not exceed."""
    watched.visibility.put(closed(1, duration=0.5), closed(1, duration=0.51), closed(1, duration=1e6))
    ((key, observed),) = (await watched.poll(2)).durations.items()
    assert (key, observed.total) == (("Ride", "completed", "none"), 1_000_001.01)
    assert (observed.counts[0], observed.counts[1], observed.counts[-1], sum(observed.counts)) == (1, 1, 1, 3)
