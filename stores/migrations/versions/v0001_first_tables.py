"""The first tables."""

import sqlalchemy as sa
from alembic import op
from clew.stores.ledger.types import row_number, text_of

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Build."""
    _conversations()
    _files()
    _mails()
    _callbacks()
    _exposures()
    _traffic()
    _rule_reports()
    _provider_states()
    _canned()
    _tags()
    _agents()
    _desk()
    _desk_work()
    _load()
    _partner_pages()
    _orders()
    _sightings()
    _placements()
    _credits()
    _commissions()
    _payouts()
    _postbacks()
    _networks()
    _offers()
    _rules()
    _rest()


def _conversations() -> None:
    """Conversations and their messages."""
    op.create_table(
        "conversations",
        sa.Column("id", text_of(40), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("visitor", text_of(40), nullable=False),
        sa.Column("language", text_of(2), nullable=False),
        sa.Column("rule", text_of(64), nullable=True),
        sa.Column("state", text_of(10), nullable=False),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.Float(), nullable=False),
        sa.Column("waiting_since", sa.Float(), nullable=True),
        sa.Column("said", sa.Integer(), nullable=False),
        sa.Column("last", row_number(), nullable=True),
        sa.Column("agent_saw", row_number(), nullable=True),
        sa.Column("visitor_saw", row_number(), nullable=True),
        sa.Column("partner", text_of(64), nullable=True),
        sa.Column("page", text_of(300), nullable=True),
        sa.Column("client", text_of(32), nullable=True),
        sa.Column("provider", text_of(40), nullable=True),
        sa.Column("external", text_of(100), nullable=True),
        sa.Column("tied", text_of(8), nullable=True),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("rating_text", text_of(500), nullable=True),
        sa.Column("invite", text_of(1000), nullable=True),
        sa.Column("department", text_of(64), nullable=True),
        sa.Column("answered_at", sa.Float(), nullable=True),
        sa.Column("answered_by", text_of(64), nullable=True),
        sa.Column("said_at", sa.Float(), nullable=True),
        sa.Column("arm", text_of(32), nullable=True),
        sa.Column("cart", text_of(40), nullable=True),
        sa.Column("cart_currency", text_of(3), nullable=True),
        sa.Column("sensible", sa.Boolean(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.UniqueConstraint("site", "provider", "external", "visitor", name=op.f("uq_conversations_site")),
    )
    op.create_index(
        "ix_conversations_state",
        "conversations",
        ["state", "site", "provider", "updated_at", "waiting_since", "agent"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_updated",
        "conversations",
        ["site", "state", "updated_at", "provider"],
        unique=False,
    )
    queue = sa.text("waiting_since IS NOT NULL AND agent IS NULL")
    op.create_index(
        "ix_conversations_queue",
        "conversations",
        ["site", "waiting_since"],
        unique=False,
        sqlite_where=queue,
        postgresql_where=queue,
    )
    op.create_index(
        "ix_conversations_crowds",
        "conversations",
        ["site", "client", "state", "provider", "waiting_since"],
        unique=False,
        sqlite_where=queue,
        postgresql_where=queue,
    )
    op.create_index("ix_conversations_started", "conversations", ["site", "started_at"], unique=False)
    op.create_index(
        "ix_conversations_visitor", "conversations", ["site", "visitor", "started_at"], unique=False
    )
    of_rule = sa.text("rule IS NOT NULL")
    op.create_index(
        "ix_conversations_rule",
        "conversations",
        ["site", "rule", "started_at"],
        unique=False,
        sqlite_where=of_rule,
        postgresql_where=of_rule,
    )
    op.create_index(
        "ix_conversations_agent",
        "conversations",
        ["agent", "state", "site", "provider", "updated_at"],
        unique=False,
    )
    op.create_index(
        "ix_conversations_waiting",
        "conversations",
        ["site", "state", "waiting_since", "updated_at"],
        unique=False,
    )
    op.create_table(
        "messages",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("conversation", text_of(40), nullable=False),
        sa.Column("author", text_of(10), nullable=False),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("text", text_of(), nullable=False),
        sa.Column("client_id", text_of(64), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("kind", text_of(10), nullable=True),
        sa.Column("extra", text_of(), nullable=True),
        sa.Column("previous", row_number(), nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation"], ["conversations.id"], name=op.f("fk_messages_conversation_conversations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.UniqueConstraint("conversation", "client_id", name=op.f("uq_messages_conversation")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_at", "messages", ["at"], unique=False)
    op.create_index(
        "ix_messages_kind",
        "messages",
        ["conversation", "kind", "id"],
        unique=False,
        postgresql_where=sa.text("kind IS NOT NULL"),
        sqlite_where=sa.text("kind IS NOT NULL"),
    )
    op.create_index("ix_messages_conversation", "messages", ["conversation", "id"], unique=False)


def _files() -> None:
    """Files and pictures of conversations."""
    op.create_table(
        "files",
        sa.Column("id", text_of(40), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("conversation", text_of(40), nullable=True),
        sa.Column("message", row_number(), nullable=True),
        sa.Column("name", text_of(200), nullable=False),
        sa.Column("type", text_of(40), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation"], ["conversations.id"], name=op.f("fk_files_conversation_conversations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
    )
    op.create_index("ix_files_site", "files", ["site", "at"], unique=False)
    op.create_index("ix_files_conversation", "files", ["conversation"], unique=False)
    op.create_table(
        "file_parts",
        sa.Column("file", text_of(40), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["file"], ["files.id"], name=op.f("fk_file_parts_file_files")),
        sa.PrimaryKeyConstraint("file", "part", name=op.f("pk_file_parts")),
    )


def _mails() -> None:
    """Answers that go out by mail."""
    op.create_table(
        "reply_addresses",
        sa.Column("conversation", text_of(40), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("visitor", text_of(40), nullable=False),
        sa.Column("mail", text_of(254), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("conversation", name=op.f("pk_reply_addresses")),
    )
    op.create_table(
        "mails",
        sa.Column("id", text_of(40), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("conversation", text_of(40), nullable=False),
        sa.Column("mail", text_of(254), nullable=False),
        sa.Column("state", text_of(10), nullable=False),
        sa.Column("after", row_number(), nullable=False),
        sa.Column("through", row_number(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("last_answer", text_of(300), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mails")),
    )
    op.create_index("ix_mails_conversation", "mails", ["conversation", "created_at"], unique=False)
    op.create_index("ix_mails_due", "mails", ["state", "next_at"], unique=False)
    op.create_index("ix_mails_sent", "mails", ["site", "state", "finished_at"], unique=False)


def _exposures() -> None:
    """Visitors in experiments with rules' invites."""
    steps = ("assigned_at", "rendered_at", "seen_at", "dismissed_at", "accepted_at", "went_on_at")
    op.create_table(
        "exposures",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("rule", text_of(64), nullable=False),
        sa.Column("edition", text_of(16), nullable=False),
        sa.Column("visitor", text_of(40), nullable=False),
        sa.Column("arm", text_of(32), nullable=False),
        sa.Column("eligible_at", sa.Float(), nullable=False),
        *(sa.Column(name, sa.Float(), nullable=True) for name in steps),
        sa.Column("seconds", sa.Integer(), nullable=True),
        sa.Column("visit", sa.Integer(), nullable=True),
        sa.Column("cart", text_of(40), nullable=True),
        sa.Column("cart_currency", text_of(3), nullable=True),
        sa.Column("client", text_of(16), nullable=True),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exposures")),
        sa.UniqueConstraint("site", "rule", "edition", "visitor", name=op.f("uq_exposures_site")),
    )
    for name, columns in (
        ("visitor", ["site", "visitor"]),
        ("eligible", ["site", "eligible_at"]),
        ("assigned", ["site", "rule", "edition", "assigned_at", "id"]),
        ("seen", ["site", "rule", "edition", "seen_at", "id"]),
        ("changed", ["changed_at"]),
        ("written", ["written", "id"]),
    ):
        op.create_index(f"ix_exposures_{name}", "exposures", columns, unique=False)


def _traffic() -> None:
    """A sample of page views, for trying rules out."""
    op.create_table(
        "traffic",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("visitor", text_of(40), nullable=False),
        sa.Column("page_view", text_of(64), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("facts", text_of(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_traffic")),
        sa.UniqueConstraint("site", "visitor", "page_view", name=op.f("uq_traffic_site")),
    )
    op.create_index("ix_traffic_site", "traffic", ["site", "at"], unique=False)
    op.create_index("ix_traffic_at", "traffic", ["at"], unique=False)


def _rule_reports() -> None:
    """Looks at rules, figures of rules that ended, and sums of what was deleted."""
    op.create_table(
        "rule_looks",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("kind", text_of(6), nullable=False),
        sa.Column("rule", text_of(64), nullable=False),
        sa.Column("edition", text_of(16), nullable=False),
        sa.Column("look", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("words", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", "rule", "edition", "look", name=op.f("pk_rule_looks")),
    )
    op.create_table(
        "rule_ends",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("rule", text_of(64), nullable=False),
        sa.Column("edition", text_of(16), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site", "rule", "edition", name=op.f("pk_rule_ends")),
    )
    op.create_table(
        "rule_sums",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("day", text_of(10), nullable=False),
        sa.Column("kind", text_of(8), nullable=False),
        sa.Column("key", text_of(300), nullable=False),
        sa.Column("sums", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("site", "day", "kind", "key", name=op.f("pk_rule_sums")),
    )
    op.create_table(
        "desk_days",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("day", text_of(10), nullable=False),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("places", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("site", "agent", "day", name=op.f("pk_desk_days")),
    )


def _callbacks() -> None:
    """Visitors who want to be called."""
    op.create_table(
        "callbacks",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("phone", text_of(20), nullable=False),
        sa.Column("topic", text_of(300), nullable=False),
        sa.Column("language", text_of(2), nullable=False),
        sa.Column("wished_at", sa.Float(), nullable=True),
        sa.Column("state", text_of(10), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("taken_by", text_of(64), nullable=True),
        sa.Column("taken_at", sa.Float(), nullable=True),
        sa.Column("order", text_of(200), nullable=True),
        sa.Column("partner", text_of(64), nullable=True),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_callbacks")),
    )
    for name, columns in (
        ("state", ["site", "state", "changed_at"]),
        ("visitor", ["site", "visitor"]),
        ("phone", ["site", "phone"]),
        ("changed", ["changed_at"]),
        ("written", ["written", "id"]),
    ):
        op.create_index(f"ix_callbacks_{name}", "callbacks", columns, unique=False)


def _provider_states() -> None:
    """What is known of providers' chats beside their conversations."""
    op.create_table(
        "provider_states",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("kind", text_of(50), nullable=False),
        sa.Column("name", text_of(100), nullable=False),
        sa.Column("state", text_of(10), nullable=False),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("site", "kind", "name", name=op.f("pk_provider_states")),
    )
    op.create_index("ix_provider_states_at", "provider_states", ["at"], unique=False)
    op.create_index("ix_provider_states_visitor", "provider_states", ["site", "visitor"], unique=False)
    presence = sa.text("state <> ''")
    op.create_index(
        "ix_provider_states_presence",
        "provider_states",
        ["site", "kind", "state", "at"],
        unique=False,
        sqlite_where=presence,
        postgresql_where=presence,
    )


def _canned() -> None:
    """Canned answers."""
    op.create_table(
        "canned",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("shortcut", text_of(30), nullable=False),
        sa.Column("texts", sa.JSON(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canned")),
        sa.UniqueConstraint("site", "agent", "shortcut", name=op.f("uq_canned_site")),
    )
    op.create_table(
        "canned_sites",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_canned_sites")),
    )


def _tags() -> None:
    """Tags of conversations."""
    op.create_table(
        "conversation_tags",
        sa.Column("conversation", text_of(40), nullable=False),
        sa.Column("tag", text_of(30), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation"],
            ["conversations.id"],
            name=op.f("fk_conversation_tags_conversation_conversations"),
        ),
        sa.PrimaryKeyConstraint("conversation", "tag", name=op.f("pk_conversation_tags")),
    )
    op.create_index("ix_conversation_tags_at", "conversation_tags", ["site", "at"], unique=False)
    op.create_index(
        "ix_conversation_tags_tag", "conversation_tags", ["site", "tag", "conversation"], unique=False
    )


def _agents() -> None:
    """The desk's agents, and where they are signed in."""
    op.create_table(
        "agents",
        sa.Column("name", text_of(64), nullable=False),
        sa.Column("prefs", sa.JSON(), nullable=True),
        sa.Column("shown", text_of(64), nullable=True),
        sa.Column("password", text_of(), nullable=False),
        sa.Column("site", text_of(64), nullable=True),
        sa.Column("partner", text_of(64), nullable=True),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_agents")),
    )
    op.create_table(
        "agent_roles",
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("role", text_of(10), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_agent_roles_agent_agents")),
        sa.PrimaryKeyConstraint("agent", "site", name=op.f("pk_agent_roles")),
    )
    op.create_table(
        "agent_sessions",
        sa.Column("token", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("site", text_of(64), nullable=True),
        sa.Column("host", text_of(261), nullable=False),
        sa.Column("csrf", text_of(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("device", text_of(80), nullable=False),
        sa.Column("network", text_of(64), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_agent_sessions_agent_agents")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_agent_sessions")),
    )
    op.create_index(op.f("ix_agent_sessions_agent"), "agent_sessions", ["agent"], unique=False)


def _desk() -> None:
    """Second factors, links for people, and who did what."""
    op.create_table(
        "second_factors",
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("secret", text_of(200), nullable=False),
        sa.Column("confirmed_at", sa.Float(), nullable=True),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("tries_since", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_second_factors_agent_agents")),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_second_factors")),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("code", text_of(64), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_recovery_codes_agent_agents")),
        sa.PrimaryKeyConstraint("agent", "code", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "login_steps",
        sa.Column("token", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("site", text_of(64), nullable=True),
        sa.Column("host", text_of(261), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_login_steps_agent_agents")),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_login_steps")),
    )
    op.create_index(op.f("ix_login_steps_agent"), "login_steps", ["agent"], unique=False)
    op.create_table(
        "desk_links",
        sa.Column("id", text_of(16), nullable=False),
        sa.Column("kind", text_of(10), nullable=False),
        sa.Column("token", text_of(64), nullable=False),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("role", text_of(10), nullable=True),
        sa.Column("sites", sa.JSON(), nullable=True),
        sa.Column("note", text_of(100), nullable=False),
        sa.Column("by", text_of(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("used_at", sa.Float(), nullable=True),
        sa.Column("revoked_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_desk_links_agent_agents")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_links")),
        sa.UniqueConstraint("token", name=op.f("uq_desk_links_token")),
    )
    op.create_index(op.f("ix_desk_links_agent"), "desk_links", ["agent"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("who", text_of(80), nullable=False),
        sa.Column("action", text_of(40), nullable=False),
        sa.Column("subject", text_of(200), nullable=False),
        sa.Column("network", text_of(64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"], unique=False)
    op.create_index("ix_audit_site", "audit", ["site", "id"], unique=False)


def _desk_work() -> None:
    """How people work at the desk, what they did with conversations, and who may not write."""
    op.create_table(
        "desk_agents",
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("presence", text_of(10), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("languages", sa.JSON(), nullable=False),
        sa.Column("departments", sa.JSON(), nullable=False),
        sa.Column("given_at", sa.Float(), nullable=False),
        sa.Column("left_at", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["agent"], ["agents.name"], name=op.f("fk_desk_agents_agent_agents")),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_desk_agents")),
    )
    op.create_table(
        "desk_log",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("conversation", text_of(40), nullable=True),
        sa.Column("kind", text_of(12), nullable=False),
        sa.Column("by", text_of(64), nullable=True),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("before", text_of(64), nullable=True),
        sa.Column("department", text_of(64), nullable=True),
        sa.Column("why", text_of(20), nullable=True),
        sa.Column("text", text_of(), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation"], ["conversations.id"], name=op.f("fk_desk_log_conversation_conversations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_log")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_desk_log_conversation", "desk_log", ["conversation", "id"], unique=False)
    op.create_index("ix_desk_log_at", "desk_log", ["at"], unique=False)
    op.create_table(
        "blocks",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("visitor", text_of(40), nullable=False),
        sa.Column("client", text_of(32), nullable=True),
        sa.Column("conversation", text_of(40), nullable=True),
        sa.Column("by", text_of(64), nullable=False),
        sa.Column("why", text_of(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.Column("lifted_by", text_of(64), nullable=True),
        sa.Column("lifted_at", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blocks")),
    )
    op.create_index("ix_blocks_visitor", "blocks", ["site", "visitor", "until"], unique=False)
    op.create_index("ix_blocks_client", "blocks", ["site", "client", "until"], unique=False)
    op.create_index("ix_blocks_until", "blocks", ["site", "until"], unique=False)


def _load() -> None:
    """Whether the agents are busy."""
    op.create_table(
        "load_gates",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("busy", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("flips", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_load_gates")),
    )


def _partner_pages() -> None:
    """Who may see a partner's pages, and what only they show."""
    op.create_table(
        "partner_links",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("by", text_of(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("site", "partner", name=op.f("pk_partner_links")),
    )
    op.create_table(
        "partner_sessions",
        sa.Column("token", text_of(64), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("host", text_of(261), nullable=False),
        sa.Column("account", text_of(64), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=True),
        sa.Column("csrf", text_of(64), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account"], ["agents.name"], name=op.f("fk_partner_sessions_account_agents")
        ),
        sa.PrimaryKeyConstraint("token", name=op.f("pk_partner_sessions")),
    )
    op.create_index(op.f("ix_partner_sessions_account"), "partner_sessions", ["account"], unique=False)
    op.create_index(op.f("ix_partner_sessions_expires_at"), "partner_sessions", ["expires_at"], unique=False)
    op.create_index(
        "ix_partner_sessions_partner", "partner_sessions", ["site", "partner", "created_at"], unique=False
    )
    op.create_table(
        "partner_clicks",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("day", text_of(10), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("site", "partner", "day", name=op.f("pk_partner_clicks")),
    )


def _orders() -> None:
    """Orders, and their further numbers."""
    op.create_table(
        "orders",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("order_id", text_of(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("spelling", text_of(200), nullable=True),
        sa.Column("state", text_of(16), nullable=False),
        sa.Column("total", text_of(40), nullable=True),
        sa.Column("currency", text_of(3), nullable=True),
        sa.Column("refunded", text_of(40), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("channel", text_of(10), nullable=False),
        sa.Column("source", text_of(10), nullable=False),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("named_by", text_of(10), nullable=True),
        sa.Column("coupon", text_of(200), nullable=True),
        sa.Column("conversation", text_of(40), nullable=True),
        sa.Column("agent", text_of(64), nullable=True),
        sa.Column("sources", sa.JSON(), nullable=False),
        sa.Column("doubts", sa.JSON(), nullable=False),
        sa.Column("placed_at", sa.Float(), nullable=False),
        sa.Column("recorded_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("decision", row_number(), nullable=True),
        sa.Column("merged_into", row_number(), nullable=True),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orders")),
        sa.UniqueConstraint("site", "order_id", name=op.f("uq_orders_site")),
    )
    browser = sa.text("source = 'browser'")
    op.create_index(
        "ix_orders_browser",
        "orders",
        ["site", "placed_at"],
        unique=False,
        sqlite_where=browser,
        postgresql_where=browser,
    )
    in_talk = sa.text("conversation IS NOT NULL")
    op.create_index(
        "ix_orders_conversation",
        "orders",
        ["site", "conversation"],
        unique=False,
        sqlite_where=in_talk,
        postgresql_where=in_talk,
    )
    op.create_index("ix_orders_currency", "orders", ["site", "currency", "id"], unique=False)
    summed = ["state", "channel", "currency", "total", "refunded", "decision", "merged_into"]
    op.create_index("ix_orders_placed", "orders", ["site", "placed_at", "id", *summed], unique=False)
    listed = ["site", "state", "placed_at", "id", "channel", "decision", "merged_into"]
    op.create_index("ix_orders_state", "orders", listed, unique=False)
    op.create_index("ix_orders_newest", "orders", ["site", "id"], unique=False)
    op.create_index("ix_orders_number", "orders", ["order_id"], unique=False)
    op.create_index("ix_orders_written", "orders", ["written", "id"], unique=False)
    op.create_index("ix_orders_recorded", "orders", ["site", "recorded_at", "id"], unique=False)
    op.create_index("ix_orders_visitor", "orders", ["site", "visitor"], unique=False)
    coupon = sa.text("coupon IS NOT NULL")
    op.create_index(
        "ix_orders_coupon",
        "orders",
        ["site", sa.text("lower(coupon)"), "placed_at"],
        unique=False,
        sqlite_where=coupon,
        postgresql_where=coupon,
    )
    op.create_table(
        "order_numbers",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("number", text_of(200), nullable=False),
        sa.Column("order", row_number(), nullable=False),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_order_numbers_order_orders")),
        sa.PrimaryKeyConstraint("site", "number", name=op.f("pk_order_numbers")),
    )
    op.create_index(op.f("ix_order_numbers_number"), "order_numbers", ["number"], unique=False)
    op.create_index(op.f("ix_order_numbers_order"), "order_numbers", ["order"], unique=False)


def _sightings() -> None:
    """The reports that orders are made of."""
    op.create_table(
        "sightings",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("order", row_number(), nullable=True),
        sa.Column("key", text_of(40), nullable=False),
        sa.Column("source", text_of(10), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("raw", text_of(), nullable=True),
        sa.Column("joined_by", text_of(60), nullable=True),
        sa.Column("placed", text_of(200), nullable=True),
        sa.Column("loose", sa.Boolean(), nullable=False),
        sa.Column("around", sa.Float(), nullable=False),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("email_hash", text_of(64), nullable=True),
        sa.Column("coupon", text_of(200), nullable=True),
        sa.Column("total", text_of(40), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_sightings_order_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sightings")),
    )
    raw = sa.text("raw IS NOT NULL")
    op.create_index(
        "ix_sightings_raw", "sightings", ["at"], unique=False, sqlite_where=raw, postgresql_where=raw
    )
    op.create_index("ix_sightings_order", "sightings", ["order", "id"], unique=False)
    op.create_index(
        *("ix_sightings_loose", "sightings", ["site", "order", "around"]),
        unique=False,
        sqlite_where=sa.text("loose IS 1"),
        postgresql_where=sa.text("loose IS TRUE"),
    )
    unplaced = sa.text('"order" IS NULL')
    op.create_index(
        *("ix_sightings_waiting", "sightings", ["loose", "id"]),
        unique=False,
        sqlite_where=unplaced,
        postgresql_where=unplaced,
    )
    op.create_index("ix_sightings_visitor", "sightings", ["site", "visitor", "around"], unique=False)
    op.create_index("ix_sightings_email", "sightings", ["site", "email_hash", "around"], unique=False)
    op.create_index("ix_sightings_coupon", "sightings", ["site", "coupon", "around"], unique=False)


def _placements() -> None:
    """Where people placed reports, and who was forgotten."""
    op.create_table(
        "placements",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("sighting", row_number(), nullable=False),
        sa.Column("key", text_of(40), nullable=False),
        sa.Column("number", text_of(200), nullable=False),
        sa.Column("by", text_of(64), nullable=False),
        sa.Column("why", text_of(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["sighting"], ["sightings.id"], name=op.f("fk_placements_sighting_sightings")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placements")),
    )
    op.create_index("ix_placements_key", "placements", ["site", "key"], unique=False)
    op.create_index(op.f("ix_placements_sighting"), "placements", ["sighting"], unique=False)
    op.create_table(
        "forgotten",
        sa.Column("digest", text_of(40), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_forgotten")),
    )


def _credits() -> None:
    """Credit decisions."""
    op.create_table(
        "policies",
        sa.Column("version", text_of(40), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_policies")),
    )
    op.create_table(
        "decisions",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("order", row_number(), nullable=False),
        sa.Column("order_version", sa.Integer(), nullable=False),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("policy", text_of(40), nullable=False),
        sa.Column("inputs", sa.JSON(), nullable=False),
        sa.Column("reason", text_of(), nullable=False),
        sa.Column("considered", sa.JSON(), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("compared", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_decisions_order_orders")),
        sa.ForeignKeyConstraint(["policy"], ["policies.version"], name=op.f("fk_decisions_policy_policies")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_order"), "decisions", ["order"], unique=False)
    op.create_index("ix_decisions_written", "decisions", ["written", "id"], unique=False)
    op.create_index(op.f("ix_decisions_visitor"), "decisions", ["visitor"], unique=False)
    op.create_table(
        "shares",
        sa.Column("decision", row_number(), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("order", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("click", sa.JSON(), nullable=True),
        sa.Column("touched_at", sa.Float(), nullable=True),
        sa.Column("part", text_of(20), nullable=False),
        sa.Column("commission", text_of(40), nullable=True),
        sa.Column("operator", text_of(40), nullable=True),
        sa.Column("earned", sa.JSON(), nullable=True),
        sa.Column("reason", text_of(), nullable=False),
        sa.Column("forget_by", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["decision"], ["decisions.id"], name=op.f("fk_shares_decision_decisions")),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_shares_order_orders")),
        sa.PrimaryKeyConstraint("decision", "partner", name=op.f("pk_shares")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_shares_partner", "shares", ["site", "partner", "order"], unique=False)
    forget = sa.text("forget_by IS NOT NULL")
    op.create_index(
        "ix_shares_forget",
        "shares",
        ["decision"],
        unique=False,
        sqlite_where=forget,
        postgresql_where=forget,
    )


def _commissions() -> None:
    """The commissions of partners, and what was entered of them."""
    op.create_table(
        "commission_entries",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("order", row_number(), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("currency", text_of(3), nullable=False),
        sa.Column("kind", text_of(10), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("source", text_of(10), nullable=False),
        sa.Column("by", text_of(100), nullable=False),
        sa.Column("why", text_of(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("earned", sa.BigInteger(), nullable=True),
        sa.Column("stands", sa.Boolean(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=True),
        sa.Column("ref", text_of(200), nullable=True),
        sa.Column("part", text_of(20), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_commission_entries_order_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commission_entries")),
    )
    op.create_index("ix_commission_entries_order", "commission_entries", ["order", "id"], unique=False)
    op.create_index("ix_commission_entries_written", "commission_entries", ["written", "id"], unique=False)
    _partial("commission_entries", "ref", ["ref", "id"], "ref IS NOT NULL")
    op.create_table(
        "commissions",
        sa.Column("order", row_number(), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("currency", text_of(3), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("state", text_of(10), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("locked", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.Column("lockable", sa.Boolean(), nullable=False),
        sa.Column("unpaid", sa.Boolean(), nullable=False),
        sa.Column("waits_until", sa.Float(), nullable=True),
        sa.Column("decided_at", sa.Float(), nullable=True),
        sa.Column("placed_at", sa.Float(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("ref", text_of(200), nullable=True),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_commissions_order_orders")),
        sa.PrimaryKeyConstraint("order", "partner", "currency", name=op.f("pk_commissions")),
    )
    place = ["placed_at", "order"]
    op.create_index("ix_commissions_placed", "commissions", ["site", "partner", *place], unique=False)
    op.create_index("ix_commissions_state", "commissions", ["site", "state", *place], unique=False)
    _partial("commissions", "waits", ["waits_until"], "waits_until IS NOT NULL")
    _partial("commissions", "lockable", ["site", "partner", "order"], "lockable", "lockable = 1")
    _partial("commissions", "unpaid", ["site", "partner", "order"], "unpaid", "unpaid = 1")


def _payouts() -> None:
    """What was paid."""
    op.create_table(
        "payouts",
        sa.Column("name", text_of(200), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("period", text_of(7), nullable=False),
        sa.Column("currency", text_of(3), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("creditor", sa.JSON(), nullable=False),
        sa.Column("document", text_of(), nullable=True),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_payouts")),
        sa.UniqueConstraint("site", "partner", "period", "currency", name=op.f("uq_payouts_site")),
    )
    op.create_index(op.f("ix_payouts_written"), "payouts", ["written"], unique=False)


def _partial(table: str, name: str, columns: list[str], where: str, sqlite: str = "") -> None:
    op.create_index(
        *(f"ix_{table}_{name}", table, columns),
        unique=False,
        sqlite_where=sa.text(sqlite or where),
        postgresql_where=sa.text(where),
    )


def _postbacks() -> None:
    """What is due to partners, and each attempt."""
    op.create_table(
        "postbacks",
        sa.Column("id", text_of(40), nullable=False),
        sa.Column("order", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("event", text_of(20), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("state", text_of(12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=True),
        sa.Column("last_answer", text_of(), nullable=True),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float(), nullable=True),
        sa.Column("hold", text_of(10), nullable=True),
        sa.Column("why", text_of(), nullable=True),
        sa.Column("job", text_of(), nullable=True),
        sa.Column("accepted_at", sa.Float(), nullable=True),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_postbacks_order_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_postbacks")),
        sa.UniqueConstraint("order", "partner", "sequence", name=op.f("uq_postbacks_order")),
    )
    op.create_index("ix_postbacks_due", "postbacks", ["state", "next_at"], unique=False)
    op.create_index("ix_postbacks_written", "postbacks", ["written", "id"], unique=False)
    op.create_index("ix_postbacks_newest", "postbacks", ["state", "created_at"], unique=False)
    newest = ["site", "state", "created_at", "partner"]
    op.create_index("ix_postbacks_newest_of_site", "postbacks", newest, unique=False)
    op.create_index(
        "ix_postbacks_queue", "postbacks", ["state", "site", "partner", "next_at", "id"], unique=False
    )
    op.create_index(
        "ix_postbacks_partner", "postbacks", ["site", "partner", "created_at", "id"], unique=False
    )
    op.create_table(
        "attempts",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("postback", text_of(40), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("request", text_of(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("answer", text_of(), nullable=True),
        sa.Column("outcome", text_of(10), nullable=False),
        sa.ForeignKeyConstraint(["postback"], ["postbacks.id"], name=op.f("fk_attempts_postback_postbacks")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index("ix_attempts_at", "attempts", ["at"], unique=False)
    op.create_index(op.f("ix_attempts_postback"), "attempts", ["postback"], unique=False)


def _networks() -> None:
    """Tokens of networks, and what networks call an order."""
    op.create_table(
        "network_tokens",
        sa.Column("account", text_of(64), nullable=False),
        sa.Column("token", text_of(), nullable=True),
        sa.Column("refresh", text_of(), nullable=True),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("renewing_until", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_network_tokens")),
    )
    op.create_table(
        "network_orders",
        sa.Column("order", row_number(), nullable=False),
        sa.Column("partner", text_of(64), nullable=False),
        sa.Column("value", text_of(), nullable=False),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_network_orders_order_orders")),
        sa.PrimaryKeyConstraint("order", "partner", name=op.f("pk_network_orders")),
    )
    op.create_table(
        "network_paces",
        sa.Column("account", text_of(64), nullable=False),
        sa.Column("calls", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_network_paces")),
    )


def _offers() -> None:
    """Links and offers of agents, and single-use codes."""
    op.create_table(
        "offers",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("code", text_of(32), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("conversation", text_of(40), nullable=True),
        sa.Column("visitor", text_of(40), nullable=True),
        sa.Column("agent", text_of(64), nullable=False),
        sa.Column("rule", text_of(64), nullable=True),
        sa.Column("client_id", text_of(64), nullable=True),
        sa.Column("label", text_of(120), nullable=False),
        sa.Column("page", text_of(1000), nullable=False),
        sa.Column("cart", text_of(200), nullable=True),
        sa.Column("coupon", text_of(64), nullable=True),
        sa.Column("coupon_code", text_of(100), nullable=True),
        sa.Column("coupon_key", text_of(100), nullable=True),
        sa.Column("single", sa.Boolean(), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("clicks", sa.Integer(), nullable=False),
        sa.Column("others", sa.Integer(), nullable=False),
        sa.Column("clicked_at", sa.Float(), nullable=True),
        sa.Column("counts_until", sa.Float(), nullable=True),
        sa.Column("order", row_number(), nullable=True),
        sa.Column("followed_by", text_of(10), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.Column("written", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["order"], ["orders.id"], name=op.f("fk_offers_order_orders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offers")),
        sa.UniqueConstraint("code", name=op.f("uq_offers_code")),
        sa.UniqueConstraint("conversation", "client_id", name=op.f("uq_offers_conversation")),
    )
    for name, columns in (
        ("conversation", ["conversation", "id"]),
        ("visitor", ["site", "visitor"]),
        ("coupon_key", ["site", "coupon_key"]),
        ("order", ["order"]),
        ("made", ["site", "made_at"]),
        ("written", ["written", "id"]),
    ):
        op.create_index(f"ix_offers_{name}", "offers", columns, unique=False)
    op.create_table(
        "coupon_codes",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("coupon", text_of(64), nullable=False),
        sa.Column("code", text_of(100), nullable=False),
        sa.Column("offer", text_of(32), nullable=True),
        sa.Column("added_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coupon_codes")),
        sa.UniqueConstraint("site", "code", name=op.f("uq_coupon_codes_site")),
    )
    op.create_index("ix_coupon_codes_free", "coupon_codes", ["site", "coupon", "offer", "id"], unique=False)


def _rules() -> None:
    """Revisions of rules."""
    op.create_table(
        "rule_revisions",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", text_of(80), nullable=False),
        sa.Column("note", text_of(200), nullable=False),
        sa.Column("text", text_of(), nullable=True),
        sa.Column("rules", text_of(), nullable=True),
        sa.Column("own", sa.JSON(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rule_revisions")),
        sa.UniqueConstraint("site", "number", name=op.f("uq_rule_revisions_site")),
    )
    op.create_table(
        "rule_reviews",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("rule", text_of(64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("by", text_of(80), nullable=False),
        sa.PrimaryKeyConstraint("site", "rule", name=op.f("pk_rule_reviews")),
    )


def _rest() -> None:
    """What needs a person, and the probe."""
    op.create_table(
        "notices",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("event", text_of(40), nullable=False),
        sa.Column("key", text_of(200), nullable=False),
        sa.Column("first_at", sa.Float(), nullable=False),
        sa.Column("last_at", sa.Float(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices")),
        sa.UniqueConstraint("site", "event", "key", name=op.f("uq_notices_site")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", row_number(), nullable=False),
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("source", text_of(40), nullable=False),
        sa.Column("digest", text_of(40), nullable=False),
        sa.Column("delivery", text_of(200), nullable=False),
        sa.Column("topic", text_of(200), nullable=False),
        sa.Column("outcome", text_of(10), nullable=False),
        sa.Column("order", text_of(200), nullable=True),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("raw", text_of(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("site", "source", "digest", name=op.f("uq_deliveries_site")),
    )
    op.create_index("ix_deliveries_at", "deliveries", ["at"], unique=False)
    op.create_table(
        "endpoints",
        sa.Column("site", text_of(64), nullable=False),
        sa.Column("name", text_of(64), nullable=False),
        sa.Column("cursors", sa.JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failing_since", sa.Float(), nullable=True),
        sa.Column("next_at", sa.Float(), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=True),
        sa.Column("last_answer", text_of(), nullable=True),
        sa.Column("sent_at", sa.Float(), nullable=True),
        sa.Column("disabled_at", sa.Float(), nullable=True),
        sa.Column("why", text_of(), nullable=True),
        sa.Column("holder", text_of(40), nullable=True),
        sa.Column("until", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("site", "name", name=op.f("pk_endpoints")),
    )
    op.create_table(
        "turns",
        sa.Column("name", text_of(40), nullable=False),
        sa.Column("holder", text_of(40), nullable=False),
        sa.Column("until", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_turns")),
    )
    op.create_table(
        "epochs",
        sa.Column("base", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("base", name=op.f("pk_epochs")),
    )
    op.create_table(
        "probes",
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("at", name=op.f("pk_probes")),
    )
    for statement in _NUMBERING[op.get_bind().dialect.name]:
        op.execute(statement)


# What gives a row the number of its last change: see `stores/ledger/changes.py`. Rows that are copied keep
# theirs.
_NEXT = "UPDATE {0} SET written = (SELECT max(written) + 1 FROM {0}) WHERE rowid = NEW.rowid"
_NUMBERING = {
    "sqlite": (
        f"CREATE TRIGGER orders_added AFTER INSERT ON orders WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('orders')}; END",
        f"CREATE TRIGGER orders_changed AFTER UPDATE OF version ON orders "
        f"BEGIN {_NEXT.format('orders')}; END",
        f"CREATE TRIGGER decisions_added AFTER INSERT ON decisions WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('decisions')}; END",
        f"CREATE TRIGGER postbacks_added AFTER INSERT ON postbacks WHEN NEW.written = 0 "
        f"AND NEW.finished_at IS NOT NULL BEGIN {_NEXT.format('postbacks')}; END",
        f"CREATE TRIGGER postbacks_ended AFTER UPDATE OF finished_at ON postbacks "
        f"WHEN NEW.finished_at IS NOT NULL BEGIN {_NEXT.format('postbacks')}; END",
        f"CREATE TRIGGER postbacks_held AFTER INSERT ON postbacks WHEN NEW.written = 0 "
        f"AND NEW.finished_at IS NULL AND NEW.hold IS NOT NULL BEGIN {_NEXT.format('postbacks')}; END",
        f"CREATE TRIGGER postbacks_released AFTER UPDATE OF hold ON postbacks "
        f"WHEN NEW.finished_at IS NULL AND NEW.hold IS NOT OLD.hold "
        f"BEGIN {_NEXT.format('postbacks')}; END",
        f"CREATE TRIGGER commission_entries_added AFTER INSERT ON commission_entries WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('commission_entries')}; END",
        f"CREATE TRIGGER payouts_added AFTER INSERT ON payouts WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('payouts')}; END",
        f"CREATE TRIGGER offers_added AFTER INSERT ON offers WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('offers')}; END",
        f"CREATE TRIGGER offers_changed AFTER UPDATE OF version ON offers "
        f"BEGIN {_NEXT.format('offers')}; END",
        f"CREATE TRIGGER callbacks_added AFTER INSERT ON callbacks WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('callbacks')}; END",
        f"CREATE TRIGGER callbacks_changed AFTER UPDATE OF version ON callbacks "
        f"BEGIN {_NEXT.format('callbacks')}; END",
        f"CREATE TRIGGER exposures_added AFTER INSERT ON exposures WHEN NEW.written = 0 "
        f"BEGIN {_NEXT.format('exposures')}; END",
        f"CREATE TRIGGER exposures_changed AFTER UPDATE OF version ON exposures "
        f"BEGIN {_NEXT.format('exposures')}; END",
    ),
    "postgresql": (
        """
        CREATE FUNCTION clew_number() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.written := txid_current() + coalesce((SELECT max(base) FROM epochs), 0);
            RETURN NEW;
        END $$
        """,
        "CREATE TRIGGER orders_added BEFORE INSERT ON orders FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER orders_changed BEFORE UPDATE OF version ON orders FOR EACH ROW "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER decisions_added BEFORE INSERT ON decisions FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER postbacks_added BEFORE INSERT ON postbacks FOR EACH ROW "
        "WHEN (NEW.written = 0 AND NEW.finished_at IS NOT NULL) EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER postbacks_ended BEFORE UPDATE OF finished_at ON postbacks FOR EACH ROW "
        "WHEN (NEW.finished_at IS NOT NULL) EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER postbacks_held BEFORE INSERT ON postbacks FOR EACH ROW "
        "WHEN (NEW.written = 0 AND NEW.finished_at IS NULL AND NEW.hold IS NOT NULL) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER postbacks_released BEFORE UPDATE OF hold ON postbacks FOR EACH ROW "
        "WHEN (NEW.finished_at IS NULL AND NEW.hold IS DISTINCT FROM OLD.hold) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER commission_entries_added BEFORE INSERT ON commission_entries FOR EACH ROW "
        "WHEN (NEW.written = 0) EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER payouts_added BEFORE INSERT ON payouts FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER offers_added BEFORE INSERT ON offers FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER offers_changed BEFORE UPDATE OF version ON offers FOR EACH ROW "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER callbacks_added BEFORE INSERT ON callbacks FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER callbacks_changed BEFORE UPDATE OF version ON callbacks FOR EACH ROW "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER exposures_added BEFORE INSERT ON exposures FOR EACH ROW WHEN (NEW.written = 0) "
        "EXECUTE FUNCTION clew_number()",
        "CREATE TRIGGER exposures_changed BEFORE UPDATE OF version ON exposures FOR EACH ROW "
        "EXECUTE FUNCTION clew_number()",
    ),
}
