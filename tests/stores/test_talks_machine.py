"""Conversations in providers' chats under any order of webhooks and of what pages say."""

import asyncio
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from clew.chat.told import Line
from clew.stores.ledger.books import Ledger
from clew.stores.ledger.provider_talks import Heard
from clew.stores.ledger.schema import conversations, messages
from hypothesis import given

NOW = 1_795_770_000.0
_SITES = count()
Run = Callable[[Coroutine[Any, Any, Any]], Any]

visitors = st.sampled_from(["v1", "v2", "v3"])
externals = st.sampled_from(["x1", "x2"])
times = st.sampled_from([0, 5, 30, 599, 700, 4000, 90_000])
pages = st.tuples(st.just("page"), visitors, st.none() | externals, times)
ends = st.tuples(st.just("end"), visitors)
lines = st.lists(
    st.builds(
        Line,
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["visitor", "agent"]),
        st.none(),
        st.just(""),
        st.none() | times.map(lambda at: NOW + at),
    ),
    max_size=3,
)
hooks = st.tuples(
    st.just("hook"),
    externals,
    times,
    st.sampled_from([None, "started", "ended"]),
    lines,
    st.none() | st.tuples(visitors, st.sampled_from(["attr", "token", "code"])),
    st.booleans(),
)
ties = st.tuples(st.just("tie"), externals, visitors)


@pytest.fixture(scope="module")
def run() -> Iterator[tuple[Ledger, Run]]:
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        built = Ledger(f"sqlite:{Path(folder) / 'ledger.db'}")
        runner.run(built.db.open())
        yield built, runner.run
        runner.run(built.db.close())


async def _do(ledger: Ledger, site: str, step: Any) -> None:
    kind, *rest = step
    if kind == "page":
        visitor, external, at = rest
        add = ledger.conversations.add_elsewhere
        await add(site, visitor, "crisp", external, language="en", now=NOW + at)
    elif kind == "end":
        await ledger.conversations.end_elsewhere(site, rest[0], "crisp")
    elif kind == "tie":
        await ledger.provider_talks.tie(site, "crisp", rest[0], rest[1], NOW, lambda: None)
    else:
        external, at, says, said, whose, timed = rest
        visitor, tied = whose or (None, None)
        heard = Heard(
            site=site,
            provider="crisp",
            external=external,
            language="en",
            at=NOW + at,
            timed=timed,
            says=says,
            lines=said,
            visitor=visitor,
            tied=tied,
        )
        await ledger.provider_talks.hear(heard)


async def _rows(ledger: Ledger, site: str) -> tuple[list[Any], list[Any]]:
    own = conversations.c
    wanted = (own.external, own.visitor, own.state, own.said, own.tied, own.started_at, own.updated_at)
    async with ledger.db.read() as connection:
        talks = (await connection.execute(sa.select(own.id, *wanted).where(own.site == site))).all()
        ids = [row.id for row in talks]
        query = sa.select(messages).where(messages.c.conversation.in_(ids)).order_by(messages.c.id)
        return sorted(talks), list((await connection.execute(query)).all())


@pytest.mark.slow
@given(st.lists(pages | hooks | ends | ties, max_size=12))
def test_any_order_leaves_one_talk_of_each_id_and_a_webhook_again_changes_nothing(
    run: tuple[Ledger, Run], steps: list[Any]
) -> None:
    ledger, do = run
    site = f"s{next(_SITES)}"
    for step in steps:
        do(_do(ledger, site, step))
        before = do(_rows(ledger, site))
        if step[0] == "hook":
            do(_do(ledger, site, step))
            assert do(_rows(ledger, site)) == before
        talks, said = before
        told = [row.external for row in talks if row.tied is not None]
        assert len(told) == len(set(told))
        for row in talks:
            assert row.said == sum(one.conversation == row.id for one in said)
