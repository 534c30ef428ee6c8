"""A conversation as the desk's pages show it: its messages, and what the field for an answer needs."""

import secrets
from collections.abc import Sequence
from typing import Any

from ...chat.model import Conversation, Message
from ...referral.visitor import Visitor
from ...service.canned_answers import filled
from ...service.text_values import values_for
from ...stores.ledger.desk_log import LogLine
from ..files import accepted
from .auth import AgentContext
from .canned import answers_of
from .inbox import hue, short_name
from .render import language_name

SHOWN_MESSAGES = 300


async def talk_values(
    context: AgentContext,
    found: Conversation,
    visitor: Visitor | None,
    *,
    shown: int = SHOWN_MESSAGES,
    problem: str = "",
    draft: str = "",
    over: str = "",
    inserted: str = "",
) -> dict[str, Any]:
    """The values of `_talk.html`. `inserted` is the number of a canned answer that is put into the field,
    `over` the agent from whom the conversation would be taken."""
    at, agent = context.at, context.session.agent
    name = (await at.service.ledger.agents.shown({agent})).get(agent)
    words = at.site.settings.invites.keywords
    values = values_for(at.site, visitor, found.language, agent=name or "", keywords=words)
    canned = filled(await answers_of(context), found.language, values, at.site.settings.language)
    messages = await at.service.ledger.conversations.newest(found, shown)
    return {
        "conversation": found,
        "visitor_name": short_name(found.visitor),
        "hue": hue(found.visitor),
        "language": language_name(found.language),
        "messages": messages,
        "timeline": timeline(messages, await at.service.ledger.desk_log.of(found.id), shown),
        "said": said_of,
        "over": over,
        "shown": shown,
        "canned": canned,
        "reply": await at.service.ledger.mails.reply(at.site.name, found.id),
        "mailing": at.service.settings.smtp is not None,
        "problem": problem,
        "draft": draft or next((one.text for one in canned if str(one.id) == inserted), ""),
        "draft_id": secrets.token_urlsafe(16),
        "most": at.site.settings.chat.message_length,
        "types": accepted(at.site.settings),
        "megabytes": at.site.settings.files.megabytes,
    }


def timeline(messages: Sequence[Message], log: Sequence[LogLine], most: int) -> Sequence[Message | LogLine]:
    """The messages in their order, of which there are at most so many, and between them what was done."""
    shown: list[Message | LogLine] = []
    # That the visitor opened it is to be seen, and where earlier messages are left out so is what came then.
    left = [line for line in log if line.kind != "opened" or line.by]
    if messages and len(messages) == most:
        left = [line for line in left if line.at >= messages[0].at]
    for message in messages:
        while left and left[0].at <= message.at:
            shown.append(left.pop(0))
        shown.append(message)
    return [*shown, *left]


def said_of(line: LogLine, me: str) -> str:
    """A line of the log in words, for an agent."""
    by, agent = ("you" if line.by == me else line.by), ("you" if line.agent == me else line.agent)
    before = "you" if line.before == me else line.before
    department = f"department {line.department}" if line.department else "everybody"
    match line.kind:
        case "opened":
            return f"{by} opened it again" if by else "opened by the visitor"
        case "assigned":
            return f"assigned to {agent}"
        case "taken":
            return f"{by} took over from {before}" if before else f"{by} took it"
        case "transferred":
            return f"{by} gave it to {agent or department}"
        case "released":
            return f"taken from {before}, who {'has left' if line.why == 'left' else 'is not there any more'}"
        case "rated":
            return f"the visitor rated it {line.why} of 5"
        case "closed":
            return f"closed by {by}" if by else "closed"
        case "blocked":
            return f"{by} blocked the visitor"
        case "mailed":
            return "answers sent by mail"
        case "mail_failed":
            return "answers could not be sent by mail"
        case "unblocked":
            return f"{by} ended the block of the visitor"
    return f"note by {by}"
