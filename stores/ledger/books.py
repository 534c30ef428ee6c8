"""All that the ledger holds, over one database."""

from .agents import Agents
from .assignment import Assignment
from .audit import Audit
from .beside import Beside
from .blocks import Blocks
from .callbacks import Callbacks
from .calls import Calls
from .canned import CannedAnswers
from .commissions import Commissions
from .conversations import Conversations
from .customers import Customers
from .database import Database
from .deliveries import Deliveries
from .desk_agents import DeskAgents
from .desk_days import DeskDays
from .desk_links import DeskLinks
from .desk_log import DeskLog
from .endpoints import Endpoints
from .engines import database_at
from .exports import Exports
from .exposures import Exposures
from .files import Files
from .forgetting import Forgetting
from .history import Histories
from .inbox import Inbox
from .lists import Lists
from .load import Load
from .loose import Loose
from .lost import Lost
from .mails import Mails
from .networks import Networks
from .notices import Notices
from .offers import Offers
from .orders import Orders
from .outbox import Outbox
from .paces import Paces
from .partner_access import PartnerAccess
from .partner_book import PartnerBook
from .partner_clicks import PartnerClicks
from .payouts import Payouts
from .provider_talks import ProviderTalks
from .rule_figures import RuleFigures
from .rule_looks import RuleLooks
from .rule_reviews import RuleReviews
from .rule_revisions import RuleRevisions
from .search import Search
from .second_factor import SecondFactors
from .stories import Stories
from .tags import Tags
from .talk_figures import TalkFigures
from .totals import Totals
from .traffic import Traffic
from .undoing import Undoing


class Ledger:
    """The ledger's books, at an address or over a database. Open and close its `db`."""

    def __init__(self, at: str | Database) -> None:
        self.db = database_at(at) if isinstance(at, str) else at
        self.orders = Orders(self.db)
        self.histories = Histories(self.db)
        self.stories = Stories(self.db)
        self.totals = Totals(self.db)
        self.talk_figures = TalkFigures(self.db)
        self.undoing = Undoing(self.db)
        self.calls = Calls(self.db)
        self.commissions = Commissions(self.db)
        self.payouts = Payouts(self.db)
        self.loose = Loose(self.db)
        self.deliveries = Deliveries(self.db)
        self.outbox = Outbox(self.db)
        self.exports = Exports(self.db)
        self.endpoints = Endpoints(self.db)
        self.conversations = Conversations(self.db)
        self.files = Files(self.db)
        self.mails = Mails(self.db)
        self.callbacks = Callbacks(self.db)
        self.exposures = Exposures(self.db)
        self.traffic = Traffic(self.db)
        self.rule_figures = RuleFigures(self.db)
        self.rule_looks = RuleLooks(self.db)
        self.desk_days = DeskDays(self.db)
        self.provider_talks = ProviderTalks(self.db)
        self.customers = Customers(self.db)
        self.lost = Lost(self.db)
        self.paces = Paces(self.db)
        self.search = Search(self.db)
        self.tags = Tags(self.db)
        self.canned = CannedAnswers(self.db)
        self.rule_revisions = RuleRevisions(self.db)
        self.rule_reviews = RuleReviews(self.db)
        self.inbox = Inbox(self.db)
        self.lists = Lists(self.db)
        self.load = Load(self.db)
        self.agents = Agents(self.db)
        self.audit = Audit(self.db)
        self.second_factors = SecondFactors(self.db)
        self.desk_links = DeskLinks(self.db)
        self.beside = Beside(self.db)
        self.desk_log = DeskLog(self.db)
        self.desk_agents = DeskAgents(self.db)
        self.assignment = Assignment(self.db)
        self.blocks = Blocks(self.db)
        self.partner_access = PartnerAccess(self.db)
        self.partner_book = PartnerBook(self.db)
        self.partner_clicks = PartnerClicks(self.db)
        self.notices = Notices(self.db)
        self.offers = Offers(self.db)
        self.networks = Networks(self.db)
        self.forgetting = Forgetting(self.db)
