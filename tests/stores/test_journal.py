"""The journal of orders: what `add` returned for is there after a crash at any byte, and nothing else."""

import asyncio
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from clew.stores.journal import Journal, JournalError, size
from hypothesis import given
from hypothesis import strategies as st

ENTRY: dict[str, Any] = {"sighting": {"site": "shop", "id": "1001", "visitor": "\udcff é"}, "shown": None}


async def opened(path: Path, **options: Any) -> tuple[Journal, list[dict[str, Any]]]:
    journal = Journal(path, **options)
    return journal, [entry for _, entry in await journal.open()]


async def test_waiting_entries_survive_a_restart_and_done_ones_do_not(tmp_path: Path) -> None:
    """field D8"""
    journal, found = await opened(tmp_path / "j")
    assert found == []
    first, second = await journal.add(ENTRY), await journal.add(ENTRY | {"n": 2})
    assert journal.waiting == 2
    await journal.done(first)
    journal.close()
    again, found = await opened(tmp_path / "j")
    assert found == [ENTRY | {"n": 2}]
    await again.done(second)
    assert (again.waiting, size(tmp_path / "j")) == (0, 0)
    again.close()
    assert (await opened(tmp_path / "j"))[1] == []


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(0, 400))
def test_a_crash_at_any_byte_loses_no_synced_entry(steps: list[int], cut: int) -> None:
    """field D8: an entry of which the end was not written was not safe."""

    async def work(folder: Path) -> None:
        journal, _ = await opened(folder / "j")
        safe: dict[int, int] = {}
        file, before = folder / "j.0", b""
        for value in steps:
            if value == 0 and safe:
                number = min(safe)
                before = file.read_bytes()
                await journal.done(number)
                del safe[number]
            else:
                before = file.read_bytes()
                safe[await journal.add({"value": value})] = value
        journal.close()
        content = file.read_bytes()
        if content.startswith(before) and before != content and (not steps or steps[-1] != 0):
            # The last entry was cut off in the middle.
            kept = max(len(before), len(content) - 1 - cut)
            file.write_bytes(content[:kept])
            safe.pop(max(safe))
        _, found = await opened(folder / "j")
        assert [entry["value"] for entry in found] == [safe[number] for number in sorted(safe)]

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(work(Path(folder)))


async def test_each_process_has_a_file_and_takes_over_what_others_left(tmp_path: Path) -> None:
    one, _ = await opened(tmp_path / "j")
    two, found = await opened(tmp_path / "j")
    assert found == []
    await one.add({"by": 1})
    await two.add({"by": 2})
    one.close()
    two.close()
    three, found = await opened(tmp_path / "j")
    assert found == [{"by": 1}, {"by": 2}]
    four, found = await opened(tmp_path / "j")
    assert found == []
    three.close()
    four.close()
    assert (await opened(tmp_path / "j"))[1] == [{"by": 1}, {"by": 2}]


async def test_the_journal_is_private_and_refuses_entries_over_its_limit(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path / "j", limit=200)
    assert (tmp_path / "j.0").stat().st_mode & 0o077 == 0
    await journal.add({"text": "x" * 100})
    with pytest.raises(JournalError, match="full"):
        await journal.add({"text": "x" * 100})
    assert journal.waiting == 1
    journal.close()
    with pytest.raises(JournalError, match="not open"):
        await journal.add(ENTRY)


async def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=str(tmp_path / "no" / "j")):
        await opened(tmp_path / "no" / "j")


@pytest.mark.timeout(300)
async def test_a_pipe_in_place_of_its_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "j.0")
    with pytest.raises(JournalError, match=r"j\.0 is not a regular file"):
        await opened(tmp_path / "j")


async def test_lines_that_are_damaged_are_left_out(tmp_path: Path) -> None:
    journal, _ = await opened(tmp_path / "j")
    await journal.add({"value": 1})
    await journal.add({"value": 2})
    journal.close()
    file = tmp_path / "j.0"
    file.write_bytes(file.read_bytes().replace(b'"value":1', b'"value":7') + b"\n\xff\xfe garbage")
    assert (await opened(tmp_path / "j"))[1] == [{"value": 2}]


def test_entries_are_plain_ascii_json(tmp_path: Path) -> None:
    assert json.loads(json.dumps(ENTRY)) == ENTRY


async def test_a_file_that_took_over_more_than_its_limit_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.stores.journal.LIMIT", 1000)
    journals = [await opened(tmp_path / "j", limit=1000) for _ in range(3)]
    for number, (journal, _) in enumerate(journals):
        for entry in range(10):
            await journal.add({"value": number * 10 + entry, "text": "x" * 40})
    for journal, _ in journals:
        journal.close()
    (journal, _) = await opened(tmp_path / "j", limit=1000)
    journal.close()
    journal, found = await opened(tmp_path / "j", limit=1000)
    assert sorted(entry["value"] for entry in found) == list(range(30))
    journal.close()


async def test_an_entry_whose_writer_was_cancelled_is_not_emptied_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be the only trace of an order whose page was sent."""
    journal, _ = await opened(tmp_path / "j")
    other = await journal.add(ENTRY)
    begun = asyncio.Event()
    write, loop = journal._write, asyncio.get_running_loop()

    def slow(line: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        write(line)

    monkeypatch.setattr(journal, "_write", slow)
    adding = asyncio.create_task(journal.add(ENTRY | {"n": 2}))
    await begun.wait()
    adding.cancel()
    await asyncio.gather(adding, return_exceptions=True)
    await journal.done(other)
    journal.close()
    assert ENTRY | {"n": 2} in (await opened(tmp_path / "j"))[1]


async def test_an_entry_that_waits_for_ever_keeps_no_file_from_shrinking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of a site that is not in the settings any more."""
    monkeypatch.setattr("clew.stores.journal.KEPT", 20_000)
    journal, _ = await opened(tmp_path / "j")
    await journal.add(ENTRY | {"n": "stays"})
    most = 0
    for number in range(300):
        await journal.done(await journal.add(ENTRY | {"n": number}))
        most = max(most, size(tmp_path / "j"))
    assert 10_000 < most < 25_000
    assert journal.waiting == 1
    later = await journal.add(ENTRY | {"n": "later"})
    await journal.done(later)
    journal.close()
    assert (await opened(tmp_path / "j"))[1] == [ENTRY | {"n": "stays"}]


async def test_a_journal_that_moves_leaves_the_files_of_others_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew.stores.journal.KEPT", 1000)
    one, _ = await opened(tmp_path / "j")
    two, _ = await opened(tmp_path / "j")
    for journal, name in ((one, "one"), (two, "two")):
        await journal.add({"by": name})
    for journal in (one, two) * 100:
        await journal.done(await journal.add({"by": "nobody"}))
    one.close()
    two.close()
    assert sorted(entry["by"] for entry in (await opened(tmp_path / "j"))[1]) == ["one", "two"]
