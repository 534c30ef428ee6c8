"""Answers by mail, through a real SMTP server: each arrives once, none is lost, nothing is smuggled in."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog
from certificates import certificate
from clew.chat.model import Extra
from clew.postbacks.outgoing import event_of
from clew.service.letters import Letter, composed
from clew.settings.model import Settings, Smtp, mail_address, sender_parts
from clew.stores.ledger.exports import Wanted
from clew.stores.ledger.mails import PAUSE
from cryptography import x509
from desks import VISITOR, DeskServer, until
from hypothesis import given
from hypothesis import strategies as st
from mail_servers import Inbox, mail_server
from pydantic import ValidationError

HERE = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
MAIL = "kim@example.com"


@asynccontextmanager
async def mailing(
    folder: Path, inbox: Inbox, ledger: str | None = None, **smtp: Any
) -> AsyncIterator[DeskServer]:
    """A desk with a mail server."""
    desk = DeskServer(folder, {"mail": "service@shop.test"}, ledger=ledger)
    values = {"host": "127.0.0.1", "port": inbox.port, "security": "none", "sender": "Shop <chat@shop.test>"}
    desk.service.settings = desk.service.settings.model_copy(
        update={"smtp": Smtp.model_validate(values | smtp)}
    )
    await desk.service.start()
    try:
        yield desk
    finally:
        await desk.service.stop()


async def wants_mail(desk: DeskServer, text: str = "Is it blue?", mail: str = MAIL) -> str:
    talk = await desk.says(text)
    await desk.service.ledger.mails.ask("shop", talk, VISITOR, mail, desk.clock.now())
    return talk


async def answer(desk: DeskServer, talk: str, text: str) -> None:
    site = desk.service.sites.get("shop")
    assert site is not None
    await desk.service.conversations.agent_says(site, talk, text, agent="bo", client_id=None)


def later(desk: DeskServer, seconds: float = PAUSE + 1) -> None:
    desk.clock.ahead += seconds
    desk.service.mailer.wake()


async def state(desk: DeskServer, talk: str) -> str | None:
    reply = await desk.service.ledger.mails.reply("shop", talk)
    assert reply is not None
    return reply.state


async def logged(desk: DeskServer, talk: str) -> list[tuple[str, str]]:
    """What the export and the events say of a conversation's mails."""
    rows = (await desk.service.ledger.exports.page("talks", Wanted("shop"), None, 50)).rows
    found = []
    for row in rows:
        if row["conversation"] == talk and row["kind"].startswith("mail"):
            event = event_of("shop", "talks", [row], "", None, personal=False)
            assert event is not None
            assert MAIL not in event.body
            found.append((row["kind"], event.type))
    return found


async def until_state(desk: DeskServer, talk: str, wanted: str) -> None:
    async with asyncio.timeout(30):
        while await state(desk, talk) != wanted:  # noqa: ASYNC110 - looked at from outside
            await asyncio.sleep(0.02)


async def test_an_answer_goes_out_by_mail_with_proper_headers(tmp_path: Path, ledger_address: str) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, ledger_address) as desk:
        talk = await wants_mail(desk, "Ist es blau?\nUnd groß?")
        await answer(desk, talk, "Ja, blau.")
        await answer(desk, talk, "Und groß – 30 cm.")
        later(desk)
        await inbox.until(1)
        (mail,) = inbox.mails
        assert mail["From"] == "Shop <chat@shop.test>"
        assert (mail["To"], mail["Reply-To"]) == (MAIL, "service@shop.test")
        assert mail["Subject"] == "Unsere Antwort auf Ihre Frage"
        assert mail["Auto-Submitted"] == "auto-generated"
        assert mail["Message-ID"].endswith("@shop.test>")
        assert mail["In-Reply-To"] is None
        assert mail["Date"]
        text = mail.get_content().replace("\r\n", "\n")
        assert text.startswith("Ja, blau.\n\nUnd groß – 30 cm.\n\nIhre Frage:\n> Ist es blau?\n> Und groß?")
        assert "shop.test" in text.partition("\n-- \n")[2]
        assert inbox.senders == ["chat@shop.test"]
        await until_state(desk, talk, "sent")
        assert await logged(desk, talk) == [("mailed", "conversation.mailed")]
        # The next answer belongs to the same thread, and has nothing of the first.
        await answer(desk, talk, "Noch etwas.")
        later(desk)
        await inbox.until(2)
        assert inbox.mails[1]["In-Reply-To"] == inbox.mails[1]["References"] == mail["Message-ID"]
        assert inbox.mails[1]["Message-ID"] != mail["Message-ID"]
        assert inbox.mails[1].get_content().startswith("Noch etwas.")
        assert "Ja, blau" not in inbox.mails[1].get_content()


async def test_what_was_read_in_the_chat_and_who_asked_for_no_mail_get_none(tmp_path: Path) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox) as desk:
        silent = await desk.says("Hello?", visitor="b" * 26)
        await answer(desk, silent, "Hello!")
        talk = await wants_mail(desk)
        await answer(desk, talk, "Yes.")
        found, messages = await desk.conversations.visitor_messages("shop", VISITOR, 0)
        assert found is not None
        await desk.conversations.saw(found, "visitor", messages[-1].id)
        later(desk)
        await until_state(desk, talk, "read")
        assert inbox.attempts == 0


async def test_what_an_agent_asks_of_the_open_page_is_no_answer(tmp_path: Path) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox) as desk:
        talk, site = await wants_mail(desk), desk.service.sites.get("shop")
        assert site is not None
        asked = Extra("open", {"url": "/mug"})
        says = desk.service.conversations.agent_says
        await says(site, talk, "Shall I open this page?", agent="bo", client_id=None, extra=asked)
        await answer(desk, talk, "It is blue.")
        later(desk)
        await inbox.until(1)
        assert "Shall I open" not in inbox.mails[0].get_content()


@pytest.mark.parametrize("where", ["recipients", "data"])
async def test_what_is_refused_for_now_is_tried_again_as_the_same_mail(tmp_path: Path, where: str) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, schedule=[60] * 20) as desk:
        getattr(inbox, where).extend(["451 greylisted", "450 try again"])
        talk = await wants_mail(desk)
        await answer(desk, talk, "Yes.")
        later(desk)
        await inbox.until_tried(1)
        await until_state(desk, talk, "due")
        # What is written now is a mail of its own: the first one stays as it is.
        await answer(desk, talk, "And green.")
        async with asyncio.timeout(30):
            while len(inbox.mails) < 2:
                later(desk)
                await asyncio.sleep(0.05)
        texts = sorted(mail.get_content().partition("\n")[0].strip() for mail in inbox.mails)
        assert texts == ["And green.", "Yes."]
        assert inbox.attempts == 4


@pytest.mark.parametrize("where", ["recipients", "data"])
async def test_what_is_refused_for_good_is_told(tmp_path: Path, where: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with mail_server() as inbox, mailing(tmp_path, inbox) as desk:
            getattr(inbox, where).append("550 no such user")
            talk = await wants_mail(desk)
            await answer(desk, talk, "Yes.")
            later(desk)
            await until_state(desk, talk, "dead")
            assert await logged(desk, talk) == [("mail_failed", "conversation.mail_failed")]
            client = await desk.agent()
            page = await client.get(f"desk/conversations/{talk}")
            assert "could not be sent: 550 no such user" in page.text
            later(desk, 1e6)
            assert inbox.attempts == 1
    (told,) = [line for line in logs if line["event"] == "mail_failed"]
    assert (told["conversation"], told["why"]) == (talk, "550 no such user")


async def test_a_mail_is_given_up_at_the_end_of_the_schedule(tmp_path: Path) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, schedule=[10]) as desk:
        inbox.data.extend(["451 no"] * 5)
        talk = await wants_mail(desk)
        await answer(desk, talk, "Yes.")
        later(desk)
        await inbox.until_tried(1)
        await until_state(desk, talk, "due")
        later(desk, 11)
        await until_state(desk, talk, "dead")
        assert inbox.attempts == 2


async def test_mails_wait_for_a_server_that_is_away_and_for_the_right_password(tmp_path: Path) -> None:
    cert = certificate(tmp_path, HERE)
    with structlog.testing.capture_logs() as logs:
        async with mail_server("tls", cert, login=True) as inbox:
            wrong = {"security": "tls", "ca_file": str(cert), "user": "shop", "password": "wrong"}
            async with mailing(tmp_path, inbox, **wrong) as desk:
                talk = await wants_mail(desk)
                await answer(desk, talk, "Yes.")
                later(desk)
                await until(lambda: any(line["event"] == "mail_waiting" for line in logs))
                why = [line["why"] for line in logs if line["event"] == "mail_waiting"]
                assert inbox.logins[:1] == [("shop", "wrong")], why
                await until_state(desk, talk, "due")
                smtp = desk.service.settings.smtp
                assert smtp is not None
                right = Smtp.model_validate({**smtp.model_dump(), "password": "right"})
                desk.service.settings = desk.service.settings.model_copy(update={"smtp": right})
                later(desk, 61)
                await inbox.until(1)
                assert inbox.secured == [True]


async def test_starttls_is_used_and_a_certificate_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    cert = certificate(tmp_path, HERE)
    async with mail_server("starttls", cert) as inbox:
        (tmp_path / "right").mkdir()
        async with mailing(tmp_path / "right", inbox, security="starttls", ca_file=str(cert)) as desk:
            talk = await wants_mail(desk)
            await answer(desk, talk, "Yes.")
            later(desk)
            await inbox.until(1)
            assert inbox.secured == [True]
        (tmp_path / "wrong").mkdir()
        async with mailing(tmp_path / "wrong", inbox, security="starttls") as desk:
            talk = await wants_mail(desk)
            await answer(desk, talk, "Yes.")
            with structlog.testing.capture_logs() as logs:
                later(desk)
                await until(lambda: any(line["event"] == "mail_waiting" for line in logs))
            assert len(inbox.mails) == 1


async def test_a_mail_whose_process_died_goes_out_again_under_the_same_id(
    tmp_path: Path, ledger_address: str
) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, ledger_address) as desk:
        talk = await wants_mail(desk)
        desk.service.settings = (own := desk.service.settings).model_copy(update={"smtp": None})
        await desk.conversations.add_agent_message(
            "shop", talk, "Yes.", agent="bo", client_id=None, now=desk.clock.now(), mails=True
        )
        now = desk.clock.now() + PAUSE + 1
        taken = await desk.service.ledger.mails.claim(now, 60)
        assert taken is not None
        # Nobody else takes it, and what is written meanwhile is not lost.
        assert await desk.service.ledger.mails.claim(now, 60) is None
        await desk.conversations.add_agent_message(
            "shop", talk, "And green.", agent="bo", client_id=None, now=now, mails=True
        )
        again = await desk.service.ledger.mails.claim(now + 61, 60)
        assert again is not None
        assert (again.id, again.answers, again.attempts) == (taken.id, ["Yes."], 2)
        # The first one was slow, not dead: what it notes now does not count.
        await desk.service.ledger.mails.finish(taken, "sent", now + 62)
        assert await state(desk, talk) != "sent"
        desk.service.settings = own
        later(desk, 300)
        await inbox.until(2)
        assert {mail["Message-ID"] for mail in inbox.mails} >= {f"<{taken.id}@shop.test>"}


async def test_a_site_sends_no_more_than_so_many_an_hour_and_the_rest_waits(tmp_path: Path) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, per_hour=1) as desk:
        talks = []
        for letter in "ab":
            talk = await desk.says("?", visitor=letter * 26)
            await desk.service.ledger.mails.ask("shop", talk, letter * 26, MAIL, desk.clock.now())
            await answer(desk, talk, letter)
            talks.append(talk)
        with structlog.testing.capture_logs() as logs:
            later(desk)
            await inbox.until(1)
            await until(lambda: any(line["event"] == "mail_waiting" for line in logs))
        assert len(inbox.mails) == 1
        later(desk, 3700)
        await inbox.until(2)


async def test_who_is_forgotten_leaves_no_address(tmp_path: Path, ledger_address: str) -> None:
    async with mail_server() as inbox, mailing(tmp_path, inbox, ledger_address) as desk:
        talk = await wants_mail(desk)
        await answer(desk, talk, "Yes.")
        site = desk.service.sites.get("shop")
        assert site is not None
        person = await desk.service.ledger.forgetting.person("shop", visitor=VISITOR)
        await desk.service.ledger.forgetting.forget(person, desk.clock.now())
        assert await desk.service.ledger.mails.reply("shop", talk) is None
        later(desk)
        assert await desk.service.ledger.mails.claim(desk.clock.now(), 60) is None


def letter(**values: Any) -> Letter:
    given: dict[str, Any] = {
        "id": "a" * 32,
        "to": MAIL,
        "sender": "chat@shop.test",
        "reply_to": None,
        "shop": "shop.test",
        "language": "en",
        "question": "?",
        "answers": ["Yes."],
        "first": None,
        "at": 0.0,
    }
    return Letter(**given | values)


@given(st.text(max_size=60))
def test_nothing_that_is_no_address_gets_into_a_header(text: str) -> None:
    for value in (text, f"kim@example.com{text}", f"{text}@example.com", f"kim@{text}.example"):
        try:
            message = composed(letter(to=value))
        except ValueError:
            continue
        head = message.as_bytes().partition(b"\r\n\r\n")[0]
        names = [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")]
        assert len(names) == len(set(names))
        assert head.count(b"To:") == 1
        assert message["To"].addresses[0].addr_spec == mail_address(value)


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_is_a_mail_of_short_lines_in_ascii(question: str, answered: str) -> None:
    made = composed(letter(question=question, answers=[answered])).as_bytes()
    assert made.isascii()
    assert all(len(line) <= 998 for line in made.split(b"\r\n"))
    assert made.partition(b"\r\n\r\n")[0].count(b"Subject:") == 1


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("kim@example.com", "kim@example.com"),
        (" kim+shop@sub.example.com ", "kim+shop@sub.example.com"),
        ("kim@bücher.example", "kim@xn--bcher-kva.example"),
        *(
            (wrong, None)
            for wrong in ("", "kim", "kim@", "@x.de", "kim@localhost", "a b@x.de", "kim@x.de,b@x.de")
        ),
        *((wrong, None) for wrong in ("kim@x.de\nBcc: b@x.de", "<kim@x.de>", '"a"@x.de', "k" * 65 + "@x.de")),
        *(
            (wrong, None)
            for wrong in ("kim@[127.0.0.1]", "kim@-x.de", "a..b@x.de", "kim@" + "x" * 300 + ".de")
        ),
    ],
)
def test_addresses_are_checked(value: str, wanted: str | None) -> None:
    if wanted is None:
        with pytest.raises(ValueError, match="write"):
            mail_address(value)
    else:
        assert mail_address(value) == wanted


def test_a_sender_has_a_name_or_none() -> None:
    assert sender_parts("Shop, GmbH <chat@shop.test>") == ("Shop, GmbH", "chat@shop.test")
    assert sender_parts("chat@shop.test") == ("", "chat@shop.test")
    for wrong in ("Shop", "Shop <chat>", "Shop\r\nBcc: <chat@shop.test>", "Shop <chat@shop.test> x"):
        with pytest.raises(ValueError, match="write"):
            sender_parts(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": "shop"},
        {"user": "shop", "password": "x", "security": "none"},
        {"sender": "shop"},
        {"schedule": []},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Smtp.model_validate({"host": "mail.test", "sender": "chat@shop.test", **wrong})


def test_the_usual_ports_are_the_defaults() -> None:
    given = {"host": "mail.test", "sender": "chat@shop.test"}
    ports = [Smtp.model_validate({**given, "security": one}).at_port for one in ("starttls", "tls", "none")]
    assert ports == [587, 465, 25]
    assert Settings.model_fields["smtp"].default is None
