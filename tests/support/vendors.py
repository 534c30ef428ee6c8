"""Stand-ins for the scripts of chat providers, each as its vendor documents it (chat/providers.toml).

They keep what is called in `window.heard`, drain what was queued before, and become ready a moment later.
"""

from typing import NamedTuple


class Vendor(NamedTuple):
    """`ids` of an account. `script` is what the provider's address answers. `opened` is what is heard when
    its chat is opened; `start` begins a conversation, and `conversation` is the id that it then tells."""

    ids: dict[str, str]
    script: str
    opened: list[object] | None
    start: str = ""
    conversation: str | None = None


HELPERS = """
window.heard ??= [];
const hear = (name, answer) => (...args) => {
  heard.push([name, ...args.filter((one) => typeof one !== "function")]);
  return answer;
};
const soon = (act) => setTimeout(act, 30);
const on = {};
const listen = (name, act) => (on[name] ??= []).push(act);
window.tell = (name, ...args) => (on[name] ?? []).forEach((act) => act(...args));
const fire = (target, type, detail) => target.dispatchEvent(new CustomEvent(type, { detail }));
"""

GUID = "5f9d3b0c-8a7e-4d5c-9b3a-29181706f5e4"

VENDORS: dict[str, Vendor] = {
    "chatwoot": Vendor(
        {"website_token": "aBcDeFgHiJkLmNoPqRsTuVwX", "base_url": "https://chat.shop.example"},
        """window.chatwootSDK = { run({ websiteToken, baseUrl }) {
          heard.push(["run", websiteToken, baseUrl]);
          soon(() => {
            window.$chatwoot = { toggle: hear("toggle"), toggleBubbleVisibility: hear("bubble"),
              setCustomAttributes: hear("contact"), setConversationCustomAttributes: hear("conversation") };
            fire(window, "chatwoot:ready");
          });
        } };""",
        ["toggle", "open"],
        'fire(window, "chatwoot:on-start-conversation")',
    ),
    "tawk": Vendor(
        {"property_id": "5f9d3b0c8a7e6d5c4b3a2918"},
        """Object.assign(Tawk_API, {
          setAttributes: (data, done) => { heard.push(["attributes", data]); done(); },
          maximize: hear("maximize"), hideWidget: hear("hide"), showWidget: hear("show") });
        soon(() => Tawk_API.onLoad());""",
        ["maximize"],
        "Tawk_API.onChatStarted()",
    ),
    "crisp": Vendor(
        {"website_id": GUID},
        """const queued = window.$crisp;
        const run = ([verb, what, value]) => {
          if (verb === "on") return listen(what, value);
          heard.push([verb, what, value]);
        };
        window.$crisp = { push: run, get: (name) => (name === "session:identifier" ? "session_1" : null) };
        soon(() => { for (const one of queued) run(one); tell("session:loaded", "session_1"); });""",
        ["do", "chat:open", None],
        'tell("chat:initiated")',
        "session_1",
    ),
    "intercom": Vendor(
        {"app_id": "ab12cd34"},
        """const queued = Intercom.q;
        window.Intercom = (verb, ...rest) => {
          if (verb.startsWith("on")) return listen(verb, rest[0]);
          heard.push([verb, ...rest]);
        };
        for (const one of queued) Intercom(...one);""",
        ["show"],
    ),
    "livechat": Vendor(
        {"license": "1520"},
        """const queued = LiveChatWidget._q;
        LiveChatWidget._h = (verb, [what, ...rest]) => {
          if (verb === "on") return listen(what, rest[0]);
          if (verb === "get") return { chat_data: { chatId: "PJ0MRSHTDG", threadId: "K600PKZON8" } }[what];
          heard.push([verb, what, ...rest]);
        };
        heard.push(["license", __lc.license]);
        for (const [verb, args] of queued) LiveChatWidget._h(verb, args);
        soon(() => tell("ready", {}));""",
        ["call", "maximize"],
        'tell("customer_status_changed", { status: "chatting" })',
        "PJ0MRSHTDG",
    ),
    "zendesk_classic": Vendor(
        {"key": GUID},
        """window.zE = (verb, what, ...rest) => {
          if (verb === "webWidget:on") return listen(what, rest[0]);
          heard.push([verb, what, ...rest]);
        };
        soon(() => tell("chat:connected"));""",
        ["webWidget", "open"],
        'tell("chat:start")',
    ),
    "zendesk_messaging": Vendor(
        {"key": GUID, "ticket_field_id": "360012345678"},
        """window.zE = (verb, what, ...rest) => {
          if (verb === "messenger:on") return listen(what, rest[0]);
          heard.push([verb, what, ...rest]);
        };""",
        ["messenger", "open"],
    ),
    "tidio": Vendor(
        {"public_key": "abcdefghijklmnopqrstuvwxyz012345"},
        """soon(() => {
          window.tidioChatApi = { setContactProperties: hear("properties"), open: hear("open"),
            display: hear("display"), messageFromOperator: hear("message") };
          fire(document, "tidioChat-ready");
        });""",
        ["open"],
        'fire(document, "tidioChat-conversationStart")',
    ),
    "userlike": Vendor(
        {"widget_key": "0123456789abcdef0123456789abcdef01234567"},
        """heard.push(["data", userlikeData]);
        window.userlikeStartChat = hear("start");
        window.userlikeHideButton = hear("hide");""",
        ["start"],
        'userlikeTrackingEvent("chat_started", {}, {})',
    ),
    "jivochat": Vendor(
        {"widget_id": "AbCdEf1234"},
        """window.jivo_api = { setUserToken: hear("token"), setCustomData: hear("data"), open: hear("open"),
          showProactiveInvitation: hear("invitation"), close: hear("close"), chatMode: () => "offline" };
        soon(() => jivo_onLoadCallback());""",
        ["open", {"start": "chat"}],
        "jivo_onClientStartChat()",
    ),
    "hubspot": Vendor(
        {"portal_id": "1234567", "region": "-eu1"},
        """heard.push(["settings", hsConversationsSettings]);
        soon(() => {
          window.HubSpotConversations = { on: listen,
            widget: { load: hear("load"), open: hear("open"), remove: hear("remove") } };
          for (const act of hsConversationsOnReady) act();
        });""",
        ["open"],
        'tell("conversationStarted", { conversation: { conversationId: 3005 } })',
        "3005",
    ),
    "drift": Vendor(
        {"embed_id": "abc123def456"},
        """const queued = drift;
        window.drift = { on: listen, api: { openChat: hear("open"), setUserAttributes: hear("attributes"),
          widget: { hide: hear("hide"), show: hear("show") } } };
        for (const [verb, ...rest] of queued) drift[verb](...rest);
        soon(() => tell("ready", drift.api, { isOnline: true, chatOpen: false, widgetVisible: true }));""",
        ["open"],
        'tell("startConversation", { conversationId: 77 })',
        "77",
    ),
    "freshchat": Vendor(
        {"token": GUID},
        """window.fcWidget = { on: listen, open: hear("open"), hide: hear("hide"), show: hear("show"),
          user: { setProperties: hear("user") },
          conversation: { setConversationProperties: hear("conversation") },
          init(config) { heard.push(["init", config]); soon(() => tell("widget:loaded")); } };""",
        ["open"],
        'tell("message:sent", { data: { conversationId: "c-9" } })',
        "c-9",
    ),
    "olark": Vendor(
        {"site_id": "1234-567-89-0123"},
        """const queued = olark.q;
        window.olark = (what, value) => typeof value === "function" ? listen(what, value) : hear(what)(value);
        olark.identify = hear("identify");
        for (const one of queued) olark(...one);
        soon(() => tell("api.chat.onReady"));""",
        ["api.box.expand", None],
        'tell("api.chat.onBeginConversation")',
    ),
    "smartsupp": Vendor(
        {"key": "0123456789abcdef0123456789abcdef01234567"},
        """const queued = smartsupp._;
        heard.push(["key", _smartsupp.key]);
        window.smartsupp = (what, ...rest) => what === "on" ? listen(...rest) : hear(what)(...rest);
        for (const one of queued) smartsupp(...one);""",
        ["chat:open"],
        'tell("message_sent")',
    ),
    "gorgias": Vendor(
        {"application_id": "15123"},
        """soon(() => {
          window.GorgiasChat = { on: listen, open: hear("open"), hideChat: hear("hide") };
          fire(window, "gorgias-widget-loaded");
        });""",
        ["open"],
        'tell("conversation:start")',
    ),
    "rocketchat": Vendor(
        {"base_url": "https://talk.shop.example"},
        """const queued = RocketChat._;
        const api = { setGuestToken: hear("token"), setCustomField: hear("field"),
          maximizeWidget: hear("maximize"), hideWidget: hear("hide"), showWidget: hear("show") };
        const told = ["onChatMaximized", "onChatMinimized", "onChatStarted", "onChatEnded",
          "onServiceOffline"];
        for (const name of told)
          api[name] = (act) => listen(name, act);
        heard.push(["url", RocketChat.url]);
        window.RocketChat = (act) => act.call(api);
        for (const [act] of queued) act.call(api);""",
        ["maximize"],
        'tell("onChatStarted")',
    ),
    "livehelperchat": Vendor(
        {"base_url": "https://help.shop.example/lhc"},
        """heard.push(["attributes", lhc_var]);
        window.$_LHC = { eventListener: { emitEvent: hear("emit"), addListener: listen } };""",
        ["emit", "showWidget"],
        'tell("chatStarted", { chat_id: 12 })',
        "12",
    ),
    "zammad": Vendor(
        {"base_url": "https://zammad.shop.example"},
        """window.ZammadChat = class { constructor(options) { heard.push(["new", options]); }
          open() { heard.push(["open"]); } close() { heard.push(["close"]); } };""",
        ["open"],
    ),
    "reamaze": Vendor(
        {"account": "tea"},
        """heard.push(["support", _support]); window.Reamaze = { popup: hear("popup") };""",
        ["popup"],
    ),
    "threecx": Vendor(
        {"base_url": "https://tea.3cx.example", "party": "LiveChat123456"},
        """customElements.define("call-us-selector", class extends HTMLElement { connectedCallback() {
          heard.push(["element", this.getAttribute("phonesystem-url"), this.getAttribute("party")]); } });""",
        None,
    ),
    "tiledesk": Vendor(
        {"project_id": "5f9d3b0c8a7e6d5c4b3a2918"},
        """const queued = Tiledesk.q;
        heard.push(["settings", tiledeskSettings]);
        window.Tiledesk = (what, value) =>
          typeof value === "function" ? listen(what, value) : hear(what)(value);
        window.tiledesk = { open: hear("open"), hide: hear("hide"), show: hear("show") };
        for (const one of queued) Tiledesk(...one);
        soon(() => tell("onInit"));""",
        ["open"],
        'tell("onNewConversation")',
    ),
    "papercups": Vendor(
        {"token": GUID, "inbox": GUID},
        """const { config } = Papercups;
        heard.push(["customer", config.customer]);
        Object.assign(Papercups, { open: hear("open"), close: hear("close") });
        soon(() => config.onChatLoaded({}));""",
        ["open"],
        "Papercups.config.onMessageSent({})",
    ),
    "trengo": Vendor(
        {"key": "AbCdEfGh1234", "field_id": "4711"},
        """heard.push(["contact", Trengo.contact_data]);
        soon(() => {
          Trengo.Api = { Widget: { open: hear("open"), hide: hear("hide") } };
          Trengo.on_ready();
        });""",
        ["open", "chat"],
    ),
    "iadvize": Vendor(
        {"sid": "1234"},
        """heard.push(["config", iAdvizeInterface.config], ["data", idzCustomData]);""",
        None,
        'iAdvizeCallbacks.onChatStarted({ id: 1, conversationId: "i-5", vuid: "v" })',
        "i-5",
    ),
    "botpress": Vendor(
        {"bot_id": GUID, "client_id": GUID},
        """window.botpress = { on: listen, open: hear("open"), close: hear("close"), updateUser: hear("user"),
          init(config) { heard.push(["init", config]); soon(() => tell("webchat:initialized")); } };""",
        ["open"],
        'tell("conversation", "b-1")',
        "b-1",
    ),
}
