"""Wake-ups for live streams."""

import asyncio
from contextlib import ExitStack

import pytest
from clew.chat.hub import GIVEN, TOGETHER, Hub, HubFullError, desk_topic, talk_topic, visitor_topic
from clew.chat.model import Message, News


async def test_a_notification_wakes_all_listeners_of_its_topic_and_no_others() -> None:
    hub = Hub()
    with hub.listen("a") as first, hub.listen("a") as second, hub.listen("b") as other:
        waits = [asyncio.create_task(each.wait(30)) for each in (first, second)]
        missed = asyncio.create_task(other.wait(0.01))
        await asyncio.sleep(0)
        hub.notify("a")
        assert await asyncio.gather(*waits) == [True, True]
        assert await missed is False


async def test_a_notification_while_the_stream_is_busy_is_not_lost() -> None:
    hub = Hub()
    with hub.listen("a") as listener:
        hub.notify("a")
        hub.notify("a")
        assert await listener.wait(30) is True
        assert await listener.wait(0.001) is False


async def test_a_wait_ends_by_itself_so_that_the_ledger_is_read_again() -> None:
    with Hub().listen("a") as listener:
        assert await listener.wait(0.001) is False


async def test_listeners_that_vanish_leave_nothing_behind() -> None:
    hub = Hub()

    async def client() -> None:
        with hub.listen("a") as listener:
            await listener.wait(60)

    tasks = [asyncio.create_task(client()) for _ in range(50)]
    await asyncio.sleep(0)
    assert len(hub) == 50
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(hub) == 0
    assert hub._topics == {}


async def test_a_topic_that_was_left_can_be_listened_to_again() -> None:
    hub = Hub()
    with hub.listen("a") as first:
        with hub.listen("a"):
            pass
        hub.notify("a")
        assert await first.wait(30) is True
    with hub.listen("a") as second:
        hub.notify("a")
        assert await second.wait(30) is True


async def test_there_are_at_most_so_many_listeners_in_all_and_of_a_topic() -> None:
    hub = Hub(limit=3)
    with hub.listen("a", 2), hub.listen("a", 2):
        with pytest.raises(HubFullError), hub.listen("a", 2):
            pass
        with hub.listen("b", 2), pytest.raises(HubFullError), hub.listen("c", 2):
            pass
        assert len(hub) == 2


async def test_a_refused_listener_does_not_leave_its_topic_behind() -> None:
    hub = Hub(limit=0)
    with pytest.raises(HubFullError), hub.listen("a"):
        pass
    assert hub._topics == {}


async def test_closing_ends_all_waits_and_accepts_no_listeners() -> None:
    hub = Hub()
    with hub.listen("a") as listener:
        wait = asyncio.create_task(listener.wait(60))
        await asyncio.sleep(0)
        hub.close()
        assert await wait is True
        assert listener.stopped
    with pytest.raises(HubFullError), hub.listen("a"):
        pass


async def test_a_listener_of_a_site_that_was_removed_is_stopped_from_the_beginning() -> None:
    sites = {"a"}
    hub = Hub(has_site=sites.__contains__)
    with hub.listen(visitor_topic("a", "v")) as first:
        sites.clear()
        hub.end("a")
        with hub.listen(visitor_topic("a", "v")) as second, hub.listen(desk_topic("a"), None, "x") as third:
            assert await second.wait(30) is True
            assert all(each.stopped and each.closing for each in (first, second, third))
    sites.add("a")
    with hub.listen(visitor_topic("a", "v")) as again:
        assert not again.stopped


def test_topics_of_sites_and_visitors_are_apart() -> None:
    topics = {desk_topic("a"), desk_topic("b"), visitor_topic("a", "v"), visitor_topic("b", "v")}
    assert len(topics) == 4


def news(number: int, previous: int | None) -> News:
    return News("shop", "anna", "c1", Message(number, "visitor", None, "hello", 1.0), previous)


async def test_news_reach_the_visitor_and_the_desks_that_show_the_conversation() -> None:
    hub, topics = Hub(), (visitor_topic("shop", "anna"), talk_topic("shop", "c1"), desk_topic("shop"))
    with hub.listen(topics[0]) as visitor, hub.listen(topics[2], None, topics[1]) as desk:
        with hub.listen(topics[2]) as other:
            hub.tell(news(2, 1))
            assert [len(each.told()) for each in (visitor, desk, other)] == [1, 1, 0]
            assert [each.taken() for each in (visitor, desk, other)] == [set(), {topics[2]}, {topics[2]}]
        assert visitor.told() == []


async def test_a_message_is_told_once_however_often_it_is_found() -> None:
    hub, topic = Hub(), visitor_topic("shop", "anna")
    with hub.listen(topic) as listener:
        hub.tell(news(1, 0))
        hub.tell(news(1, 0))
        hub.tell(news(2, 1))
        assert [one.message.id for one in listener.told()] == [1, 2]
        hub.tell(news(2, 1))
        assert listener.told() == []


async def test_thousands_are_woken_in_turn_and_none_is_left_out() -> None:
    hub, topic = Hub(), "presence/shop"
    with ExitStack() as stack:
        all_of_them = [stack.enter_context(hub.listen(topic)) for _ in range(3 * TOGETHER + 1)]
        telling = asyncio.create_task(hub.notify_slowly(topic))
        await asyncio.sleep(0)
        woken = [bool(one.taken()) for one in all_of_them]
        assert sum(woken) == TOGETHER
        await telling
        assert all(was or one.taken() for one, was in zip(all_of_them, woken, strict=True))


async def test_a_stream_that_was_woken_while_it_was_busy_does_not_wait() -> None:
    hub = Hub()
    with hub.listen("one") as listener:
        hub.notify("one")
        assert await listener.wait(30) is True
        assert await listener.wait(0.01) is False
        # It has not looked since: the next notification tells it nothing more.
        hub.notify("one")
        assert listener.taken() == {"one"}
        hub.notify("one")
        assert await listener.wait(30) is True


async def test_a_stream_that_is_told_too_much_or_not_what_came_before_reads() -> None:
    hub, topic = Hub(), visitor_topic("shop", "anna")
    with hub.listen(topic) as busy, hub.listen(topic) as unsure:
        for number in range(1, GIVEN + 10):
            hub.tell(news(number, number - 1))
        unsure.told()
        unsure.taken()
        hub.tell(news(GIVEN + 10, None))
        assert len(busy.told()) == GIVEN
        assert busy.taken() == {topic} == unsure.taken()


async def test_topics_that_can_wait_end_a_wait_once() -> None:
    hub, clock = Hub(), asyncio.get_running_loop().time
    with hub.listen("now", None, "later") as listener:
        listener.later, listener.later_at = frozenset({"later"}), clock() + 3600
        hub.notify("later")
        assert await listener.wait(30) is True
        # The stream waits until then.
        assert listener.look_at == listener.later_at
        hub.notify("later")
        assert await listener.wait(0.001) is False
        assert listener.taken() == {"later"}
        hub.notify("now")
        assert await listener.wait(30) is True
        listener.later_at = clock()
        hub.notify("later")
        assert await listener.wait(30) is True
