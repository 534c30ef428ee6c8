"""The tables of the ledger: what may never be lost.

Times are unix seconds as floats, money is decimal text beside its ISO 4217 code, ids of postbacks and
conversations are random text. `stores/migrations` builds these tables; a test holds the
two against each other.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    UniqueConstraint,
    text,
)

from .types import row_number, text_of

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Most orders have no coupon, and are reported by others than a browser.
_COUPON = text("coupon IS NOT NULL")
_BROWSER = text("source = 'browser'")
# Most come from no conversation, and most states are of codes, which have none.
_IN_TALK = text("conversation IS NOT NULL")
_PRESENCE = text("state <> ''")


# What the sightings of an order come to (`orders/history.py`): computed again with each sighting.
orders = Table(
    "orders",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("order_id", text_of(200), nullable=False),  # its first number, normalised
    Column("version", Integer, nullable=False),  # counts the changes; a writer checks it
    Column("spelling", text_of(200)),  # the shop's own, where it is another
    Column("state", text_of(16), nullable=False),
    Column("total", text_of(40)),  # NULL: only a refund or a cancellation was reported so far
    Column("currency", text_of(3)),
    Column("refunded", text_of(40), nullable=False),
    Column("details", JSON, nullable=False),  # net, tax, items, refunds, …, where known
    Column("channel", text_of(10), nullable=False),
    Column("source", text_of(10), nullable=False),  # of its amount: page, browser, api, …
    Column("visitor", text_of(40)),
    Column("named_by", text_of(10)),  # the source that said whose it is; NULL: none did
    Column("coupon", text_of(200)),
    Column("conversation", text_of(40)),
    Column("agent", text_of(64)),
    Column("sources", JSON, nullable=False),  # by field, the key of the sighting that it comes from
    Column("doubts", JSON, nullable=False),  # what stands against telling a partner
    Column("placed_at", Float, nullable=False),
    Column("recorded_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("decision", row_number()),  # the credit decision that holds
    Column("merged_into", row_number()),  # NULL, or the order that this one turned out to be
    Column("written", BigInteger, nullable=False, server_default="0"),  # its last change: `changes.py`
    UniqueConstraint("site", "order_id"),
    Index("ix_orders_visitor", "site", "visitor"),
    Index("ix_orders_newest", "site", "id"),
    Index(
        "ix_orders_coupon",
        "site",
        text("lower(coupon)"),
        "placed_at",
        sqlite_where=_COUPON,
        postgresql_where=_COUPON,
    ),
    Index(
        "ix_orders_browser", "site", "placed_at", sqlite_where=_BROWSER, postgresql_where=_BROWSER
    ),  # `amounts.py`
    Index(
        "ix_orders_conversation",
        *("site", "conversation"),
        sqlite_where=_IN_TALK,
        postgresql_where=_IN_TALK,
    ),
    Index("ix_orders_currency", "site", "currency", "id"),
    # All that sums and lists need, in the order of time: they do not read the rows (`totals.py`, `lists.py`).
    Index(
        "ix_orders_placed",
        *("site", "placed_at", "id", "state", "channel", "currency", "total", "refunded", "decision"),
        "merged_into",
    ),
    Index("ix_orders_state", *("site", "state", "placed_at", "id", "channel", "decision", "merged_into")),
    Index("ix_orders_number", "order_id"),
    Index("ix_orders_recorded", "site", "recorded_at", "id"),
    Index("ix_orders_written", "written", "id"),
)

# All numbers of each order, its first one too: two orders never have the same.
order_numbers = Table(
    "order_numbers",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("number", text_of(200), primary_key=True, index=True),
    Column("order", row_number(), ForeignKey("orders.id"), nullable=False, index=True),
)

# Those that still have what came in are few, and found by this.
_RAW = text("raw IS NOT NULL")
# So are those of which nobody knows the order.
_UNPLACED = text('"order" IS NULL')
# And those without a number: with an index of them alone, PostgreSQL takes it also before it has counted.
_LOOSE = text("loose IS 1"), text("loose IS TRUE")

# Append-only. `order` is NULL while it is not known which order a sighting is about.
sightings = Table(
    "sightings",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("order", row_number(), ForeignKey("orders.id")),
    Column("key", text_of(40), nullable=False),  # names its content
    Column("source", text_of(10), nullable=False),
    Column("at", Float, nullable=False),
    Column("said", JSON, nullable=False),  # `Sighting.to_json`
    Column("raw", text_of()),  # as it came, for a stated time
    Column("joined_by", text_of(60)),  # the evidence that it is about this order
    Column("placed", text_of(200)),  # the order number that a person chose for it: the last of `placements`
    # By what a sighting without a number, a `loose` one, is joined.
    Column("loose", Boolean, nullable=False),
    Column("around", Float, nullable=False),  # when the order was placed, as reported; else `at`
    Column("visitor", text_of(40)),
    Column("email_hash", text_of(64)),
    Column("coupon", text_of(200)),
    Column("total", text_of(40)),
    Index("ix_sightings_order", "order", "id"),
    Index("ix_sightings_raw", "at", sqlite_where=_RAW, postgresql_where=_RAW),
    Index(
        "ix_sightings_loose", "site", "order", "around", sqlite_where=_LOOSE[0], postgresql_where=_LOOSE[1]
    ),
    Index("ix_sightings_waiting", "loose", "id", sqlite_where=_UNPLACED, postgresql_where=_UNPLACED),
    Index("ix_sightings_visitor", "site", "visitor", "around"),
    Index("ix_sightings_email", "site", "email_hash", "around"),
    Index("ix_sightings_coupon", "site", "coupon", "around"),
)

# Append-only: to which order a sighting belongs, as people said, whatever number it names. The last counts.
placements = Table(
    "placements",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("sighting", row_number(), ForeignKey("sightings.id"), nullable=False, index=True),
    Column("key", text_of(40), nullable=False),  # of the sighting: the same report again belongs there too
    Column("number", text_of(200), nullable=False),
    Column("by", text_of(64), nullable=False),
    Column("why", text_of(), nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_placements_key", "site", "key"),
)

# Webhooks that came in signed, each once: repeats are found by it. What could not be read is kept as it came.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("source", text_of(40), nullable=False),  # shopify, …
    Column("digest", text_of(40), nullable=False),  # of the body; of what is not about an order, of the topic
    Column("delivery", text_of(200), nullable=False),  # the sender's id of it, empty if it has none
    Column("topic", text_of(200), nullable=False),
    Column("outcome", text_of(10), nullable=False),  # order, ignored, unread, ping
    Column("order", text_of(200)),  # its number
    Column("said", JSON, nullable=False),  # what was understood, for people
    Column("at", Float, nullable=False),  # the last time
    Column("count", Integer, nullable=False),
    Column("raw", text_of()),  # the body of what could not be read
    UniqueConstraint("site", "source", "digest"),
    Index("ix_deliveries_at", "at"),
)

# Who asked to be forgotten: a digest of each visitor and e-mail hash (`forgotten.py`).
forgotten = Table(
    "forgotten",
    metadata,
    Column("digest", text_of(40), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("at", Float, nullable=False),
)

# By what orders are credited; each is kept once.
policies = Table(
    "policies",
    metadata,
    Column("version", text_of(40), primary_key=True),
    Column("policy", JSON, nullable=False),
)

# Append-only: each keeps its inputs, so that it can be replayed.
decisions = Table(
    "decisions",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("order", row_number(), ForeignKey("orders.id"), nullable=False, index=True),
    Column("order_version", Integer, nullable=False),
    Column("visitor", text_of(40), index=True),  # whose touches were weighed, if it is known
    Column("at", Float, nullable=False),
    Column("policy", text_of(40), ForeignKey("policies.version"), nullable=False),
    Column("inputs", JSON, nullable=False),
    Column("reason", text_of(), nullable=False),
    Column("considered", JSON, nullable=False),
    Column("written", BigInteger, nullable=False, server_default="0"),
    Index("ix_decisions_written", "written", "id"),
    Column("compared", JSON),  # what other models would give
)

_FORGET = text("forget_by IS NOT NULL")

# A partner's part of an order by one decision; none where nobody earns it.
shares = Table(
    "shares",
    metadata,
    Column("decision", row_number(), ForeignKey("decisions.id"), primary_key=True),
    Column("partner", text_of(64), primary_key=True),
    Column("place", Integer, nullable=False),  # 0 for the largest part
    Column("order", row_number(), ForeignKey("orders.id"), nullable=False),
    Column("site", text_of(64), nullable=False),  # the order's
    Column("click", JSON),
    Column("touched_at", Float),
    Column("part", text_of(20), nullable=False),  # from 0 to 1, decimal text
    Column("commission", text_of(40)),  # NULL: the site has no terms
    Column("operator", text_of(40)),  # the part of the chat's operator
    Column("earned", JSON),  # its currency, and how it came about
    Column("reason", text_of(), nullable=False),
    Column("forget_by", Float),  # until then the click id of a forgotten visitor goes
    Index("ix_shares_partner", "site", "partner", "order"),
    Index("ix_shares_forget", "decision", sqlite_where=_FORGET, postgresql_where=_FORGET),
    # One look-up instead of two, and one tree less to write.
    sqlite_with_rowid=False,
)

_REF = text("ref IS NOT NULL")

# Append-only: what was entered of a partner's commission for an order (`payouts/account.py`). Amounts are in
# minor units of the currency, so that the database can add them up exactly.
commission_entries = Table(
    "commission_entries",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("order", row_number(), ForeignKey("orders.id"), nullable=False),
    Column("partner", text_of(64), nullable=False),
    Column("currency", text_of(3), nullable=False),
    Column("kind", text_of(10), nullable=False),  # credited, clawback, approved, declined, locked, paid
    Column("at", Float, nullable=False),
    Column("source", text_of(10), nullable=False),  # credit, hold, person, network, …
    Column("by", text_of(100), nullable=False),
    Column("why", text_of(), nullable=False),
    Column("amount", BigInteger),  # NULL: the site has no terms
    Column("value", BigInteger, nullable=False),
    Column("earned", BigInteger),  # what the credit decision gives since then
    Column("stands", Boolean, nullable=False),
    Column("due_at", Float),
    Column("ref", text_of(200)),  # the settlement or the payout
    Column("part", text_of(20), nullable=False),  # the partner's part of the order, from 0 to 1
    Column("written", BigInteger, nullable=False, server_default="0"),  # see `changes.py`
    Index("ix_commission_entries_order", "order", "id"),
    Index("ix_commission_entries_written", "written", "id"),
    Index("ix_commission_entries_ref", "ref", "id", sqlite_where=_REF, postgresql_where=_REF),
)

_WAITS = text("waits_until IS NOT NULL")


def _those(column: str) -> dict[str, Any]:
    """A partial index of the rows for which a Boolean is true, as each engine's queries ask for it."""
    return {"sqlite_where": text(f"{column} = 1"), "postgresql_where": text(column)}


# What the entries come to, computed again with each: the state of each commission.
commissions = Table(
    "commissions",
    metadata,
    Column("order", row_number(), ForeignKey("orders.id"), primary_key=True),
    Column("partner", text_of(64), primary_key=True),
    Column("currency", text_of(3), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("state", text_of(10), nullable=False),
    Column("amount", BigInteger),
    Column("value", BigInteger, nullable=False),  # the partner's part of the order's amount
    Column("locked", BigInteger, nullable=False),
    Column("paid", BigInteger, nullable=False),
    Column("lockable", Boolean, nullable=False),  # something of it can be settled
    Column("unpaid", Boolean, nullable=False),  # something of it is settled and not paid
    Column("waits_until", Float),  # the end of its hold period; NULL: it does not wait for that
    Column("decided_at", Float),
    Column("placed_at", Float, nullable=False),  # when the order was placed
    Column("changed_at", Float, nullable=False),
    Column("ref", text_of(200)),  # the last settlement or payout
    Index("ix_commissions_placed", "site", "partner", "placed_at", "order"),
    Index("ix_commissions_state", "site", "state", "placed_at", "order"),
    Index("ix_commissions_waits", "waits_until", sqlite_where=_WAITS, postgresql_where=_WAITS),
    Index("ix_commissions_lockable", "site", "partner", "order", **_those("lockable")),
    Index("ix_commissions_unpaid", "site", "partner", "order", **_those("unpaid")),
)

# What was paid to a partner for a period: what its files are made of again. Its entries name it.
payouts = Table(
    "payouts",
    metadata,
    Column("name", text_of(200), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("partner", text_of(64), nullable=False),
    Column("period", text_of(7), nullable=False),
    Column("currency", text_of(3), nullable=False),
    Column("amount", BigInteger, nullable=False),  # in minor units
    Column("lines", Integer, nullable=False),
    Column("made_at", Float, nullable=False),
    Column("creditor", JSON, nullable=False),  # who was paid, as it was in the settings
    Column("document", text_of()),  # the payment as SEPA XML; NULL: CSV only
    Column("written", BigInteger, nullable=False, server_default="0", index=True),
    UniqueConstraint("site", "partner", "period", "currency"),
)

postbacks = Table(
    "postbacks",
    metadata,
    Column("id", text_of(40), primary_key=True),
    Column("order", row_number(), ForeignKey("orders.id"), nullable=False),
    Column("site", text_of(64), nullable=False),
    Column("partner", text_of(64), nullable=False),
    Column("sequence", Integer, nullable=False),  # by order and partner: what is reported after what
    Column("event", text_of(20), nullable=False),  # order, adjust or cancel
    Column("report", JSON, nullable=False),  # the values the call is rendered from
    # due: waits for next_at; with a lease_until ahead, a worker has it and has sent nothing yet.
    # sending: its first byte may have left; a worker has it until lease_until. delivered, dead: done.
    # accepted: the network has it, and is asked at next_at what became of it.
    # unknown: it was sent, no answer came; only a person, or a network that takes repeats, may resend.
    # held: in doubt; only a person, or the shop's server, makes it due. refused: a person said no, or its
    # visitor was forgotten.
    # superseded: nothing of it was sent, and a later one says what holds now.
    Column("state", text_of(12), nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("last_answer", text_of()),
    Column("last_status", Integer),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("hold", text_of(10)),  # the kind of doubt, or why no call is made
    Column("why", text_of()),  # the doubt in words, and who settled it
    Column("job", text_of()),  # what the network calls the call that it has accepted
    Column("accepted_at", Float),
    Column("written", BigInteger, nullable=False, server_default="0"),  # its end, or its hold or release
    UniqueConstraint("order", "partner", "sequence"),
    Index("ix_postbacks_due", "state", "next_at"),
    # Not a partial one: SQLite takes the highest number from its end (`changes.py`).
    Index("ix_postbacks_written", "written", "id"),
    Index("ix_postbacks_queue", "state", "site", "partner", "next_at", "id"),
    Index("ix_postbacks_newest", "state", "created_at"),
    Index("ix_postbacks_newest_of_site", "site", "state", "created_at", "partner"),
    Index("ix_postbacks_partner", "site", "partner", "created_at", "id"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("postback", text_of(40), ForeignKey("postbacks.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("request", text_of(), nullable=False),  # method and address, secrets masked
    Column("status", Integer),
    Column("answer", text_of()),
    Column("outcome", text_of(10), nullable=False),  # delivered, retry, dead, unknown
    Index("ix_attempts_at", "at"),
)

# OAuth tokens of networks by account: a digest of the address and the credentials. Encrypted under the
# settings' secret.
network_tokens = Table(
    "network_tokens",
    metadata,
    Column("account", text_of(64), primary_key=True),
    Column("token", text_of()),  # NULL: none yet, or the network refused it
    Column("refresh", text_of()),  # the newest refresh token, if the server has replaced the settings' one
    Column("expires_at", Float, nullable=False),
    Column("renewing_until", Float),  # until then one worker gets a new token
)

# What a network calls an order, from its response: corrections need it.
network_orders = Table(
    "network_orders",
    metadata,
    Column("order", row_number(), ForeignKey("orders.id"), primary_key=True),
    Column("partner", text_of(64), primary_key=True),
    Column("value", text_of(), nullable=False),
)

# The calls of the last minute to an account of a network that takes only so many, by all workers.
network_paces = Table(
    "network_paces",
    metadata,
    Column("account", text_of(64), primary_key=True),
    Column("calls", JSON, nullable=False),  # unix seconds, the oldest first
)

_QUEUE = text("waiting_since IS NOT NULL AND agent IS NULL")
_OF_RULE = text("rule IS NOT NULL")

conversations = Table(
    "conversations",
    metadata,
    Column("id", text_of(40), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("visitor", text_of(40), nullable=False),
    Column("language", text_of(2), nullable=False),
    Column("rule", text_of(64)),  # the rule whose invite started it
    Column("state", text_of(10), nullable=False),  # open or closed
    Column("agent", text_of(64)),
    Column("started_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    # What a line of the inbox needs, kept with each message, so that a list of them is one query.
    Column("waiting_since", Float),  # the first message of the visitor that nobody has answered
    Column("said", Integer, nullable=False),  # messages of people
    Column("last", row_number()),  # id of the newest message
    Column("agent_saw", row_number()),  # the newest message that an agent has read, and that the visitor has
    Column("visitor_saw", row_number()),
    Column("partner", text_of(64)),  # who sent the visitor, and on which page the last message was written
    Column("page", text_of(300)),
    Column("client", text_of(32)),  # the same for all of one client network; not an address
    # A conversation in another company's chat: which, and the conversation's id there, if it is known.
    Column("provider", text_of(40)),
    Column("external", text_of(100)),
    # Of a webhook: what says whose it is (attr, token, code, id; "" and "unsure": nothing does). NULL: only a
    # page told of it.
    Column("tied", text_of(8)),
    Column("rating", Integer),  # by the visitor, 1 to 5
    Column("rating_text", text_of(500)),  # what it wrote about it
    Column("invite", text_of(1000)),  # the text of the rule's invite
    Column("department", text_of(64)),  # whose it is, by the rule that started it or by a transfer
    # For figures (`talk_figures.py`): the first answer, and the last message of people.
    Column("answered_at", Float),
    Column("answered_by", text_of(64)),
    Column("said_at", Float),
    # Of the exposure that led to it, where that is deleted: the text, and the cart at the invite.
    Column("arm", text_of(32)),
    Column("cart", text_of(40)),
    Column("cart_currency", text_of(3)),
    Column("sensible", Boolean),  # what a person who read it says of the rule that began it
    # A browser tells the id: nobody may take one that is another visitor's.
    UniqueConstraint("site", "provider", "external", "visitor"),
    # The newest of a visitor, without a walk through all that began since.
    Index("ix_conversations_visitor", "site", "visitor", "started_at"),
    Index("ix_conversations_started", "site", "started_at"),
    Index(
        "ix_conversations_rule",
        *("site", "rule", "started_at"),
        sqlite_where=_OF_RULE,
        postgresql_where=_OF_RULE,
    ),
    Index("ix_conversations_updated", "site", "state", "updated_at", "provider"),
    Index("ix_conversations_waiting", "site", "state", "waiting_since", "updated_at"),
    Index("ix_conversations_agent", "agent", "state", "site", "provider", "updated_at"),
    # Those that nobody has are few, and looked for again and again (`assignment.py`).
    Index("ix_conversations_queue", "site", "waiting_since", sqlite_where=_QUEUE, postgresql_where=_QUEUE),
    # Those of each client network, when a desk loads its inbox.
    Index(
        "ix_conversations_crowds",
        *("site", "client", "state", "provider", "waiting_since"),
        sqlite_where=_QUEUE,
        postgresql_where=_QUEUE,
    ),
    # The open ones of all sites are counted again and again; those that are closed are many times more.
    Index(
        "ix_conversations_state",
        *("state", "site", "provider", "updated_at", "waiting_since", "agent"),
    ),
)

# What is known of providers' chats beside their conversations, by kind: whether an agent is there ("agent"),
# or the chat by the pages of a client network ("page"); whose code ("code") or conversation ("tie PROVIDER")
# it is.
provider_states = Table(
    "provider_states",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("kind", text_of(50), primary_key=True),
    Column("name", text_of(100), primary_key=True),
    Column("state", text_of(10), nullable=False),  # online or offline, of what has a presence
    Column("visitor", text_of(40)),
    Column("at", Float, nullable=False),
    Index("ix_provider_states_at", "at"),
    Index("ix_provider_states_visitor", "site", "visitor"),
    Index(
        "ix_provider_states_presence",
        *("site", "kind", "state", "at"),
        sqlite_where=_PRESENCE,
        postgresql_where=_PRESENCE,
    ),
)

messages = Table(
    "messages",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("conversation", text_of(40), ForeignKey("conversations.id"), nullable=False),
    Column("author", text_of(10), nullable=False),  # visitor, agent or system
    Column("agent", text_of(64)),
    Column("text", text_of(), nullable=False),
    # The sender's own id of the message: sending it again after a lost answer adds nothing.
    Column("client_id", text_of(64)),
    Column("at", Float, nullable=False),
    # What it is beside a text (a file, say), and that as JSON; NULL: a text alone.
    Column("kind", text_of(10)),
    Column("extra", text_of()),
    # The one before it in its conversation, 0 for the first: who has that one misses nothing in between.
    # NULL: unknown.
    Column("previous", row_number()),
    UniqueConstraint("conversation", "client_id"),
    Index("ix_messages_conversation", "conversation", "id"),
    Index("ix_messages_at", "at"),
    Index(
        "ix_messages_kind",
        "conversation",
        "kind",
        "id",
        postgresql_where=text("kind IS NOT NULL"),
        sqlite_where=text("kind IS NOT NULL"),
    ),
    # Ids are never used again, so a reader may go on from the last one it saw.
    sqlite_autoincrement=True,
)

# Answers that agents insert into messages: an agent's own, or where it is empty those of the site.
canned = Table(
    "canned",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("agent", text_of(64), nullable=False),
    Column("shortcut", text_of(30), nullable=False),
    Column("texts", JSON, nullable=False),  # by language
    Column("changed_at", Float, nullable=False),
    UniqueConstraint("site", "agent", "shortcut"),
)

# The sites that were given their first answers.
canned_sites = Table(
    "canned_sites",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("at", Float, nullable=False),
)

# What agents called a conversation, in one word or two.
conversation_tags = Table(
    "conversation_tags",
    metadata,
    Column("conversation", text_of(40), ForeignKey("conversations.id"), primary_key=True),
    Column("tag", text_of(30), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("agent", text_of(64), nullable=False),
    Column("at", Float, nullable=False),
    Index("ix_conversation_tags_tag", "site", "tag", "conversation"),
    Index("ix_conversation_tags_at", "site", "at"),
)

# Files and pictures of conversations. Their bytes are in parts, so that neither a transaction nor a reader
# has to hold a whole one.
files = Table(
    "files",
    metadata,
    Column("id", text_of(40), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("conversation", text_of(40), ForeignKey("conversations.id")),  # NULL: not complete yet
    Column("message", row_number()),
    Column("name", text_of(200), nullable=False),
    Column("type", text_of(40), nullable=False),
    Column("size", Integer, nullable=False),
    Column("width", Integer),
    Column("height", Integer),
    Column("at", Float, nullable=False),
    Index("ix_files_site", "site", "at"),
    Index("ix_files_conversation", "conversation"),
)

file_parts = Table(
    "file_parts",
    metadata,
    Column("file", text_of(40), ForeignKey("files.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

# Where the answers of a conversation go to besides the chat, because the visitor asked for it.
reply_addresses = Table(
    "reply_addresses",
    metadata,
    Column("conversation", text_of(40), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("visitor", text_of(40), nullable=False),
    Column("mail", text_of(254), nullable=False),
    Column("at", Float, nullable=False),
)

# Answers that go out by mail; see mails.py.
mails = Table(
    "mails",
    metadata,
    Column("id", text_of(40), primary_key=True),  # what its Message-ID begins with
    Column("site", text_of(64), nullable=False),
    Column("conversation", text_of(40), nullable=False),
    Column("mail", text_of(254), nullable=False),
    Column("state", text_of(10), nullable=False),  # due, sending, sent, read or dead
    Column("after", row_number(), nullable=False),  # the answers behind this message,
    Column("through", row_number()),  # to this one, which is known once it was tried
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("lease_until", Float),
    Column("created_at", Float, nullable=False),
    Column("finished_at", Float),
    Column("last_answer", text_of(300)),
    Index("ix_mails_due", "state", "next_at"),
    Index("ix_mails_sent", "site", "state", "finished_at"),
    Index("ix_mails_conversation", "conversation", "created_at"),
)

# Visitors who want to be called; see callbacks.py.
callbacks = Table(
    "callbacks",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("visitor", text_of(40)),  # NULL: it was forgotten
    Column("phone", text_of(20), nullable=False),  # E.164
    Column("topic", text_of(300), nullable=False),
    Column("language", text_of(2), nullable=False),
    Column("wished_at", Float),  # NULL: as soon as possible
    Column("state", text_of(10), nullable=False),
    Column("calls", Integer, nullable=False),
    Column("agent", text_of(64)),
    Column("taken_by", text_of(64)),  # who calls now, so that no other does
    Column("taken_at", Float),
    Column("order", text_of(200)),  # its number
    Column("partner", text_of(64)),
    Column("made_at", Float, nullable=False),
    Column("changed_at", Float, nullable=False),
    Column("version", Integer, nullable=False),  # counts what is told
    Column("written", BigInteger, nullable=False, server_default="0"),  # see `changes.py`
    Index("ix_callbacks_state", "site", "state", "changed_at"),
    Index("ix_callbacks_visitor", "site", "visitor"),
    Index("ix_callbacks_phone", "site", "phone"),
    Index("ix_callbacks_changed", "changed_at"),
    Index("ix_callbacks_written", "written", "id"),
)

agents = Table(
    "agents",
    metadata,
    Column("name", text_of(64), primary_key=True),
    Column("prefs", JSON),  # how its desk tells it of messages: `Prefs`
    Column("shown", text_of(64)),  # the name that visitors see; NULL: none
    Column("password", text_of(), nullable=False),  # argon2id
    Column("site", text_of(64)),  # of a partner's account; NULL: an agent, see `agent_roles`
    Column("partner", text_of(64)),  # NULL: an agent; else a partner of the site, who sees its own pages only
    Column("active", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("seen_at", Float),  # last sign of an open desk
)

# What each agent may do, and where.
agent_roles = Table(
    "agent_roles",
    metadata,
    Column("agent", text_of(64), ForeignKey("agents.name"), primary_key=True),
    Column("site", text_of(64), primary_key=True),  # empty: all sites
    Column("role", text_of(10), nullable=False),  # agent, lead or owner
)

# How a person works at the desk. No row: available, with the site's number of conversations.
desk_agents = Table(
    "desk_agents",
    metadata,
    Column("agent", text_of(64), ForeignKey("agents.name"), primary_key=True),
    Column("presence", text_of(10), nullable=False),  # available, away or leaving
    Column("since", Float, nullable=False),
    Column("capacity", Integer),  # conversations at once; NULL: as the site has it
    Column("languages", JSON, nullable=False),
    Column("departments", JSON, nullable=False),
    Column("given_at", Float, nullable=False),  # when a conversation was last assigned to it
    Column("left_at", Float),  # when its last desk was closed
)

# Visitors in experiments with rules' invites; see exposures.py.
exposures = Table(
    "exposures",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("rule", text_of(64), nullable=False),  # empty: the hold-out of all rules
    Column("edition", text_of(16), nullable=False),  # the version of what is compared
    Column("visitor", text_of(40), nullable=False),
    Column("arm", text_of(32), nullable=False),
    # The first time of each step.
    Column("eligible_at", Float, nullable=False),
    Column("assigned_at", Float),
    Column("rendered_at", Float),
    Column("seen_at", Float),
    Column("dismissed_at", Float),
    Column("accepted_at", Float),
    Column("went_on_at", Float),  # the next page of the same visit
    # Of the moment at which it was assigned: seconds on the site, the number of the visit, the cart's value.
    Column("seconds", Integer),
    Column("visit", Integer),
    Column("cart", text_of(40)),
    Column("cart_currency", text_of(3)),
    Column("client", text_of(16)),  # a pseudonym of its client network
    Column("changed_at", Float, nullable=False),
    Column("version", Integer, nullable=False),
    Column("written", BigInteger, nullable=False, server_default="0"),  # see `changes.py`
    UniqueConstraint("site", "rule", "edition", "visitor"),
    Index("ix_exposures_visitor", "site", "visitor"),
    Index("ix_exposures_eligible", "site", "eligible_at"),
    Index("ix_exposures_assigned", "site", "rule", "edition", "assigned_at", "id"),
    Index("ix_exposures_seen", "site", "rule", "edition", "seen_at", "id"),
    Index("ix_exposures_changed", "changed_at"),
    Index("ix_exposures_written", "written", "id"),
)

# What rules were judged by: a look at fixed counts stays as it was taken; see rule_looks.py.
rule_looks = Table(
    "rule_looks",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("kind", text_of(6), primary_key=True),  # rule, text or lift
    Column("rule", text_of(64), primary_key=True),  # empty: the hold-out of all rules
    Column("edition", text_of(16), primary_key=True),
    Column("look", Integer, primary_key=True),  # from 1; 0 holds what was planned
    Column("at", Float, nullable=False),
    Column("until", Float, nullable=False),  # when the last unit that counts began
    Column("counts", JSON, nullable=False),  # by arm, successes and units
    Column("words", JSON, nullable=False),  # by arm, what was said
)

# The figures of a rule that has ended, as they were then.
rule_ends = Table(
    "rule_ends",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("rule", text_of(64), primary_key=True),
    Column("edition", text_of(16), primary_key=True),
    Column("at", Float, nullable=False),
    Column("report", JSON, nullable=False),
)

# A sample of page views, for trying rules out; see traffic.py.
traffic = Table(
    "traffic",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("visitor", text_of(40), nullable=False),
    Column("page_view", text_of(64), nullable=False),
    Column("visit", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("shown", Integer, nullable=False),  # seconds
    Column("weight", Float, nullable=False),  # how many page views this one stands for
    Column("facts", text_of(), nullable=False),  # JSON
    UniqueConstraint("site", "visitor", "page_view"),
    Index("ix_traffic_site", "site", "at"),
    Index("ix_traffic_at", "at"),
)

# What exposures and conversations came to that are not there any more; see rule_sums.py. No visitor.
rule_sums = Table(
    "rule_sums",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("day", text_of(10), primary_key=True),  # 2026-11-27, UTC
    Column("kind", text_of(8), primary_key=True),  # exposure or talk
    Column("key", text_of(300), primary_key=True),  # what they are summed by, as a JSON list
    Column("sums", JSON, nullable=False),
)

# How long each agent was there for conversations, by day: sums.
desk_days = Table(
    "desk_days",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("agent", text_of(64), primary_key=True),
    Column("day", text_of(10), primary_key=True),  # 2026-11-27, in the site's time zone
    Column("seconds", Float, nullable=False),
    Column("places", Float, nullable=False),  # the same times the conversations that it takes at once
)

# Whether the agents of a site are busy: of those whose agents ever were.
load_gates = Table(
    "load_gates",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("busy", Boolean, nullable=False),
    Column("since", Float, nullable=False),
    Column("flips", Integer, nullable=False),  # counts the changes: of two processes one makes the next
)

# Append-only: what was done with a conversation, beside its messages, and with the presence of agents. Apart
# from the messages: nothing that reads a visitor's messages can find a note.
desk_log = Table(
    "desk_log",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),  # empty: all sites
    Column("conversation", text_of(40), ForeignKey("conversations.id")),  # NULL: presence
    Column("kind", text_of(12), nullable=False),  # opened, assigned, taken, transferred, released, …
    Column("by", text_of(64)),  # who did it; NULL: the visitor, or the program
    Column("agent", text_of(64)),  # who has it now, or whose presence it is
    Column("before", text_of(64)),  # who had it
    Column("department", text_of(64)),
    Column("why", text_of(20)),  # why it was released; the presence
    Column("text", text_of()),  # of a note
    Column("at", Float, nullable=False),
    Index("ix_desk_log_conversation", "conversation", "id"),
    Index("ix_desk_log_at", "at"),
    # Ids are given in the order in which they become visible, and never used again (`desk_log.py`).
    sqlite_autoincrement=True,
)

# Visitors who may not write, and client networks from which nobody may, for a time.
blocks = Table(
    "blocks",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("visitor", text_of(40), nullable=False),  # empty: was forgotten
    Column("client", text_of(32)),  # as in `conversations`; NULL: the visitor alone
    Column("conversation", text_of(40)),
    Column("by", text_of(64), nullable=False),
    Column("why", text_of(), nullable=False),
    Column("at", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("lifted_by", text_of(64)),
    Column("lifted_at", Float),
    Index("ix_blocks_visitor", "site", "visitor", "until"),
    Index("ix_blocks_client", "site", "client", "until"),
    Index("ix_blocks_until", "site", "until"),
)

agent_sessions = Table(
    "agent_sessions",
    metadata,
    Column("token", text_of(64), primary_key=True),  # SHA-256 of the cookie's value, hex
    Column("agent", text_of(64), ForeignKey("agents.name"), nullable=False, index=True),
    Column(
        "site", text_of(64)
    ),  # where it was opened; NULL: on the desk's own host, for all the agent's sites
    Column("host", text_of(261), nullable=False),
    Column("csrf", text_of(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("device", text_of(80), nullable=False),  # browser and system, in a few words
    Column("network", text_of(64), nullable=False),  # an IPv4 address, or an IPv6 network
)

# A code of an authenticator (RFC 6238) beside the password.
second_factors = Table(
    "second_factors",
    metadata,
    Column("agent", text_of(64), ForeignKey("agents.name"), primary_key=True),
    Column("secret", text_of(200), nullable=False),  # encrypted with the settings' `secret`
    Column("confirmed_at", Float),  # NULL: it was shown, and no code was given yet
    Column("step", BigInteger, nullable=False),  # of the last code: no code is taken twice
    Column("tries", Integer, nullable=False),  # wrong codes …
    Column("tries_since", Float, nullable=False),  # … since
)

# Each replaces a code once.
recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("agent", text_of(64), ForeignKey("agents.name"), primary_key=True),
    Column("code", text_of(64), primary_key=True),  # SHA-256, hex
)

# Logins whose password was right, and which wait for a code. Apart from the sessions: nothing that looks for
# a session can find one.
login_steps = Table(
    "login_steps",
    metadata,
    Column("token", text_of(64), primary_key=True),  # SHA-256 of the cookie's value, hex
    Column("agent", text_of(64), ForeignKey("agents.name"), nullable=False, index=True),
    Column("site", text_of(64)),
    Column("host", text_of(261), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
)

# Links by which a person gets an account, or a new password; each once.
desk_links = Table(
    "desk_links",
    metadata,
    Column("id", text_of(16), primary_key=True),
    Column("kind", text_of(10), nullable=False),  # invitation or password
    Column("token", text_of(64), nullable=False),  # SHA-256 of what stands in the link, hex
    Column("agent", text_of(64), ForeignKey("agents.name"), index=True),  # whose password
    Column("role", text_of(10)),  # of an invitation, which has no agent …
    Column("sites", JSON),  # … at these sites
    Column("note", text_of(100), nullable=False),  # for whom it is, for those who made it
    Column("by", text_of(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("used_at", Float),
    Column("revoked_at", Float),
    UniqueConstraint("token"),
)

# Append-only: who did what, when and from where.
audit = Table(
    "audit",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("at", Float, nullable=False),
    Column("site", text_of(64), nullable=False),  # empty: the whole program
    Column("who", text_of(80), nullable=False),  # empty: a stranger
    Column("action", text_of(40), nullable=False),
    Column("subject", text_of(200), nullable=False),
    Column("network", text_of(64), nullable=False),  # empty: the command line
    Column("details", JSON, nullable=False),
    Index("ix_audit_site", "site", "id"),
    Index("ix_audit_at", "at"),
    sqlite_autoincrement=True,
)

# The links to a partner's pages hold as long as their generation is this one; no row: 0.
partner_links = Table(
    "partner_links",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("partner", text_of(64), primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("by", text_of(64), nullable=False),  # who revoked the ones before
    Column("at", Float, nullable=False),
)

# Apart from those of agents: nothing that looks for an agent's session can find a partner's.
partner_sessions = Table(
    "partner_sessions",
    metadata,
    Column("token", text_of(64), primary_key=True),  # SHA-256 of the cookie's value, hex
    Column("site", text_of(64), nullable=False),
    Column("partner", text_of(64), nullable=False),
    Column("host", text_of(261), nullable=False),
    Column("account", text_of(64), ForeignKey("agents.name"), index=True),  # NULL: it came by a link …
    Column("generation", Integer),  # … of this generation
    Column("csrf", text_of(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False, index=True),
    Index("ix_partner_sessions_partner", "site", "partner", "created_at"),
)

# How often a partner's links were followed to the shop: a sum for each day, no visitor.
partner_clicks = Table(
    "partner_clicks",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("partner", text_of(64), primary_key=True),
    Column("day", text_of(10), primary_key=True),  # 2026-11-27, in the site's time zone
    Column("count", Integer, nullable=False),
)

# Links that agents sent, each to one visitor, and what became of them.
offers = Table(
    "offers",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("code", text_of(32), nullable=False),  # in the link
    Column("site", text_of(64), nullable=False),
    Column("conversation", text_of(40)),  # NULL, as the visitor: it was forgotten
    Column("visitor", text_of(40)),
    Column("agent", text_of(64), nullable=False),  # empty: a rule's invite made it
    Column("rule", text_of(64)),
    Column("client_id", text_of(64)),  # of the form: sending it again makes no second one
    Column("label", text_of(120), nullable=False),
    Column("page", text_of(1000), nullable=False),  # path and query at the shop
    Column("cart", text_of(200)),
    Column("coupon", text_of(64)),  # its name in the settings
    Column("coupon_code", text_of(100)),
    Column("coupon_key", text_of(100)),  # the code as codes are compared
    Column("single", Boolean, nullable=False),  # nobody else has this code
    Column("made_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("clicks", Integer, nullable=False),  # by its visitor
    Column("others", Integer, nullable=False),  # by others
    Column("clicked_at", Float),
    Column("counts_until", Float),  # an order of the visitor until then follows from the click
    Column("order", row_number(), ForeignKey("orders.id")),
    Column("followed_by", text_of(10)),  # coupon or click
    Column("version", Integer, nullable=False),  # counts what is told: sent, clicked, ordered
    Column("changed_at", Float, nullable=False),
    Column("written", BigInteger, nullable=False, server_default="0"),  # see `changes.py`
    UniqueConstraint("code"),
    UniqueConstraint("conversation", "client_id"),
    Index("ix_offers_conversation", "conversation", "id"),
    Index("ix_offers_visitor", "site", "visitor"),
    Index("ix_offers_coupon_key", "site", "coupon_key"),
    Index("ix_offers_order", "order"),
    Index("ix_offers_made", "site", "made_at"),
    Index("ix_offers_written", "written", "id"),
)

# Single-use codes of the shop. Each is handed out once; `offer` names the offer that has it.
coupon_codes = Table(
    "coupon_codes",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("coupon", text_of(64), nullable=False),
    Column("code", text_of(100), nullable=False),
    Column("offer", text_of(32)),
    Column("added_at", Float, nullable=False),
    UniqueConstraint("site", "code"),
    Index("ix_coupon_codes_free", "site", "coupon", "offer", "id"),
)

# What needs a person: one row for each site, event and key, however often it happens.
notices = Table(
    "notices",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),  # empty: the whole program
    Column("event", text_of(40), nullable=False),
    Column("key", text_of(200), nullable=False),
    Column("first_at", Float, nullable=False),
    Column("last_at", Float, nullable=False),
    Column("count", Integer, nullable=False),
    Column("details", JSON, nullable=False),  # of the last time
    UniqueConstraint("site", "event", "key"),
)

# The shop's own endpoints for events: how far each one was told (cursors of exports by kind), and by whom.
endpoints = Table(
    "endpoints",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("name", text_of(64), primary_key=True),
    Column("cursors", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),  # failures since the last success
    Column("failing_since", Float),
    Column("next_at", Float, nullable=False),
    Column("last_status", Integer),
    Column("last_answer", text_of()),
    Column("sent_at", Float),
    Column("disabled_at", Float),
    Column("why", text_of()),  # it was disabled
    Column("holder", text_of(40)),
    Column("until", Float),
)

# Rules of sites as people edited them, over those of the settings; the newest of a site is in force.
rule_reviews = Table(
    "rule_reviews",
    metadata,
    Column("site", text_of(64), primary_key=True),
    Column("rule", text_of(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("by", text_of(80), nullable=False),  # empty: nobody yet, and `at` is when the rule was first there
)

rule_revisions = Table(
    "rule_revisions",
    metadata,
    Column("id", row_number(), primary_key=True),
    Column("site", text_of(64), nullable=False),
    Column("number", Integer, nullable=False),  # from 1 at each site
    Column("at", Float, nullable=False),
    Column("by", text_of(80), nullable=False),
    Column("note", text_of(200), nullable=False),
    Column("text", text_of()),  # as it was written, in TOML; NULL: the settings' rules again
    Column("rules", text_of()),  # the same in JSON, which is quick to read
    Column("own", JSON, nullable=False),  # the site's own facts that it asks for, with their types
    Column("count", Integer, nullable=False),
    Column("size", Integer, nullable=False),  # bytes of the text
    UniqueConstraint("site", "number"),
)

# Work that one process at a time does: whose turn it is, and until when.
turns = Table(
    "turns",
    metadata,
    Column("name", text_of(40), primary_key=True),
    Column("holder", text_of(40), nullable=False),
    Column("until", Float, nullable=False),
)

# What the numbers of changes begin at: the highest counts. A row is added where a database was restored.
epochs = Table("epochs", metadata, Column("base", BigInteger, primary_key=True, autoincrement=False))

# One row, written to find out whether anything can be written.
probes = Table("probes", metadata, Column("at", Float, primary_key=True))

VERSION = "alembic_version"
# All that a ledger's file holds; the visits may be in the same one.
TABLES = frozenset(metadata.tables) | {VERSION}
