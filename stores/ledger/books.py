"""All that the ledger holds, over one database."""

from .agents import Agents
from .conversations import Conversations
from .database import Database
from .inbox import Inbox
from .notices import Notices
from .orders import Orders
from .outbox import Outbox


class Ledger:
    """The ledger's books. Open and close its `db`."""

    def __init__(self, address: str) -> None:
        self.db = Database(address)
        self.orders = Orders(self.db)
        self.outbox = Outbox(self.db)
        self.conversations = Conversations(self.db)
        self.inbox = Inbox(self.db)
        self.agents = Agents(self.db)
        self.notices = Notices(self.db)
