"""The tables of the ledger: what may never be lost.

Times are unix seconds as floats, money is decimal text beside its ISO 4217 code, ids of postbacks and
conversations are random text that tells nothing. `stores/migrations` builds these tables; a test holds the
two against each other.
"""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

orders = Table(
    "orders",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("site", String(64), nullable=False),
    Column("order_id", String(200), nullable=False),
    Column("spelling", String(200)),  # the shop's own, where it is another
    Column("state", String(12), nullable=False),  # placed, or why it is no sale
    Column("total", String(40), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("channel", String(10), nullable=False),
    Column("source", String(10), nullable=False),  # page, browser, api or agent
    Column("visitor", String(40)),
    Column("named_by", String(10)),  # the source that said whose it is; NULL: nobody did
    Column("coupon", String(200)),
    Column("conversation", String(40)),
    Column("agent", String(64)),
    Column("placed_at", Float, nullable=False),
    Column("recorded_at", Float, nullable=False),
    UniqueConstraint("site", "order_id"),
    Index("ix_orders_visitor", "site", "visitor"),
    Index("ix_orders_newest", "site", "id"),
    Index("ix_orders_currency", "site", "currency", "id"),
    Index("ix_orders_number", "order_id"),
    Index("ix_orders_recorded", "recorded_at"),
)

credits_ = Table(
    "credits",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("order", Integer, ForeignKey("orders.id"), nullable=False, unique=True),
    Column("partner", String(64)),  # NULL: nobody earned it, `reason` says why
    Column("click", JSON),
    Column("touched_at", Float),
    Column("reason", Text, nullable=False),
    Column("considered", JSON, nullable=False),
    Index("ix_credits_partner", "partner", "order"),
)

postbacks = Table(
    "postbacks",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("order", Integer, ForeignKey("orders.id"), nullable=False),
    Column("site", String(64), nullable=False),
    Column("partner", String(64), nullable=False),
    Column("event", String(20), nullable=False),
    Column("report", JSON, nullable=False),  # the values the call is rendered from
    # due: waits for next_at; with a lease_until ahead, a worker has it and has sent nothing yet.
    # sending: its first byte may have left; a worker has it until lease_until. delivered, dead: done.
    # unknown: it was sent, no answer came; only a person, or a network that takes repeats, may resend.
    # held: in doubt; only a person, or the shop's server, makes it due. refused: a person said no.
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("last_answer", Text),
    Column("last_status", Integer),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("hold", String(10)),  # the kind of doubt, while it is held
    Column("why", Text),  # the doubt in words, and who settled it
    UniqueConstraint("order", "partner", "event"),
    Index("ix_postbacks_due", "state", "next_at"),
    Index("ix_postbacks_queue", "state", "site", "partner", "next_at", "id"),
    Index("ix_postbacks_newest", "state", "created_at"),
    Index("ix_postbacks_newest_of_site", "site", "state", "created_at"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("postback", String(40), ForeignKey("postbacks.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("request", Text, nullable=False),  # method and address, secrets masked
    Column("status", Integer),
    Column("answer", Text),
    Column("outcome", String(10), nullable=False),  # delivered, retry, dead, unknown
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("visitor", String(40), nullable=False),
    Column("language", String(2), nullable=False),
    Column("rule", String(64)),  # the rule whose invite started it
    Column("state", String(10), nullable=False),  # open or closed
    Column("agent", String(64)),
    Column("started_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    # What a line of the inbox needs, kept with each message, so that a list of them is one query.
    Column("waiting_since", Float),  # the first message of the visitor that nobody has answered
    Column("said", Integer, nullable=False),  # messages of people
    Column("last", Integer),  # id of the newest message
    Column("partner", String(64)),  # who sent the visitor, and on which page the last message was written
    Column("page", String(300)),
    Column("client", String(32)),  # whoever opens many from one network has one value here, not an address
    Index("ix_conversations_visitor", "site", "visitor"),
    Index("ix_conversations_updated", "site", "state", "updated_at"),
    Index("ix_conversations_waiting", "site", "state", "waiting_since", "updated_at"),
    # The open ones of all sites are counted again and again; those that are closed are many times more.
    Index("ix_conversations_state", "state", "site"),
)

messages = Table(
    "messages",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("conversation", String(40), ForeignKey("conversations.id"), nullable=False),
    Column("author", String(10), nullable=False),  # visitor, agent or system
    Column("agent", String(64)),
    Column("text", Text, nullable=False),
    # The sender's own id of the message: sending it again after a lost answer adds nothing.
    Column("client_id", String(64)),
    Column("at", Float, nullable=False),
    UniqueConstraint("conversation", "client_id"),
    Index("ix_messages_conversation", "conversation", "id"),
    # Ids are never used again, so a reader may go on from the last one it saw.
    sqlite_autoincrement=True,
)

agents = Table(
    "agents",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("shown", String(64)),  # the name that visitors see; NULL: none
    Column("password", Text, nullable=False),  # argon2id
    Column("site", String(64)),  # NULL: all sites
    Column("active", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("seen_at", Float),  # last sign of an open desk
)

agent_sessions = Table(
    "agent_sessions",
    metadata,
    Column("token", String(64), primary_key=True),  # SHA-256 of the cookie's value, hex
    Column("agent", String(64), ForeignKey("agents.name"), nullable=False),
    Column(
        "site", String(64)
    ),  # where it was opened; NULL: on the desk's own host, for all the agent's sites
    Column("host", String(261), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# What needs a person: one row for each site, event and key, however often it happens.
notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("site", String(64), nullable=False),  # empty: the whole program
    Column("event", String(40), nullable=False),
    Column("key", String(200), nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("count", Integer, nullable=False),
    Column("details", JSON, nullable=False),  # of the last time
    UniqueConstraint("site", "event", "key"),
)

# One row, written to find out whether anything can be written.
probes = Table("probes", metadata, Column("at", Float, primary_key=True))

VERSION = "alembic_version"
# All that a ledger's file holds; the visits may be in the same one.
TABLES = frozenset(metadata.tables) | {VERSION}
