"""The models of all settings, which other rooms import from here. For loading and errors, see `load.py`."""

from .actions import ActionTerms, Persona, Texts, TextSource, spoken
from .base import LANGUAGES, Language, Model, PageType, mail_address, sender_parts
from .chat import Callback, Chat, ChatAttribute, Hours
from .credit import Credit, Lookback, Terms
from .facts import EVENTS, Calendar, CustomFact, FactName, Geo, ProductPage, Score, Signal
from .invites import MOST_INVITES, Invites, RulePolicy, Variant, Week
from .limits import Bound, Limits
from .offers import Coupon, Offers
from .orders import Cart, Fraud, Hold, Net, Order, Webhook
from .partners import Partner
from .payouts import BankAccount
from .rules import Rule
from .server import JOURNAL, Delivery, Settings, Smtp, Upstream, listen_address
from .sharing import Files
from .site import ApiScope, EventEndpoint, Site

__all__ = [
    "EVENTS",
    "JOURNAL",
    "LANGUAGES",
    "MOST_INVITES",
    "ActionTerms",
    "ApiScope",
    "BankAccount",
    "Bound",
    "Calendar",
    "Callback",
    "Cart",
    "Chat",
    "ChatAttribute",
    "Coupon",
    "Credit",
    "CustomFact",
    "Delivery",
    "EventEndpoint",
    "FactName",
    "Files",
    "Fraud",
    "Geo",
    "Hold",
    "Hours",
    "Invites",
    "Language",
    "Limits",
    "Lookback",
    "Model",
    "Net",
    "Offers",
    "Order",
    "PageType",
    "Partner",
    "Persona",
    "ProductPage",
    "Rule",
    "RulePolicy",
    "Score",
    "Settings",
    "Signal",
    "Site",
    "Smtp",
    "Terms",
    "TextSource",
    "Texts",
    "Upstream",
    "Variant",
    "Webhook",
    "Week",
    "listen_address",
    "mail_address",
    "sender_parts",
    "spoken",
]
