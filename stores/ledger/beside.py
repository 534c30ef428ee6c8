"""Whether what a desk page shows of a conversation beside its messages has changed."""

from sqlalchemy import BindParameter, bindparam, func, select

from .connection import executing
from .database import Database
from .prepared import Prepared
from .schema import conversation_tags, desk_log, mails, offers, orders, reply_addresses

_CONVERSATION: BindParameter[str] = bindparam("conversation")
_SITE: BindParameter[str] = bindparam("site")
_LINES, _TAGS, _ORDERS = desk_log.c, conversation_tags.c, orders.c
_OFFERS, _MAILS, _REPLY = offers.c, mails.c, reply_addresses.c
_LAST_MAIL = select(_MAILS.state, _MAILS.attempts).where(_MAILS.conversation == _CONVERSATION)
_LAST_MAIL = _LAST_MAIL.order_by(_MAILS.created_at.desc()).limit(1)
_BESIDE = Prepared(
    select(
        *(
            query.scalar_subquery().label(name)
            for name, query in {
                "line": select(func.max(_LINES.id)).where(_LINES.conversation == _CONVERSATION),
                "tags": select(func.count()).where(_TAGS.conversation == _CONVERSATION),
                "tagged": select(func.max(_TAGS.at)).where(_TAGS.conversation == _CONVERSATION),
                "orders": select(func.sum(_ORDERS.version)).where(
                    _ORDERS.site == _SITE, _ORDERS.conversation == _CONVERSATION
                ),
                "offers": select(func.sum(_OFFERS.version + _OFFERS.others)).where(
                    _OFFERS.conversation == _CONVERSATION
                ),
                "reply": select(_REPLY.mail).where(_REPLY.conversation == _CONVERSATION),
                "mail": _LAST_MAIL.with_only_columns(_MAILS.state),
                "attempts": _LAST_MAIL.with_only_columns(_MAILS.attempts),
            }.items()
        )
    )
)


class Beside:
    """For all sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def stamp(self, site: str, conversation: str) -> tuple[object, ...]:
        """Values of which one differs after each change: by an agent, of the tags, orders, offers, and of the
        mails with answers."""
        given = {"site": site, "conversation": conversation}
        (row,) = await self._db.query(executing(_BESIDE, given), quick=True)
        return tuple(row)
