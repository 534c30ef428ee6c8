// Watches the visitor's consent on pages of sites that ask for it: the IAB's APIs, Google's Consent Mode, and the
// cookies of consent tools. Nothing is stored on the device.
const PAUSE = 500; // ms between two checks
// The cookies of referral/consent/cookies.toml.
const COOKIES =
  /^(euconsent-v2|eupubconsent-v2|Optanon(Consent|AlertBoxClosed)|CookieConsent|didomi_token|cookieyes-consent|cookielawinfo-checkbox-.*|viewed_cookie_policy|cmplz_.*|borlabs-cookie|klaro|__cmpcpcx.*|__cmpconsentx.*|cookiefirst-consent|_iub_cs-.*|CookieInformationConsent|CookieScriptConsent|CookieControl|cmapi_cookie_privacy|tarteaucitron|axeptio_cookies|_tracking_consent|wp_consent_.*|user_allowed_save_cookie)=/;

const named = (cookies) => cookies.split(/;\s*/).filter((cookie) => COOKIES.test(cookie));

// Calls `update` with what the page says of consent when that changes. Returns a function to be called with each
// answer of the server, and the cookies that were sent for it.
export function watch(update) {
  const message = {};
  const subscribed = {};
  let last, state, begun, sent;

  function subscribe(name, call) {
    if (subscribed[name] || typeof window[name] !== "function") return;
    subscribed[name] = true;
    call(window[name]);
  }

  function check() {
    subscribe("__tcfapi", (tcf) =>
      tcf("addEventListener", 2, (data, ok) => {
        // While the dialog is open, the string contains defaults.
        if (!ok || data.eventStatus === "cmpuishown") return;
        message.gdpr = data.gdprApplies;
        message.tcf = data.tcString;
        changed();
      }),
    );
    subscribe("__gpp", (gpp) =>
      gpp("addEventListener", (event, ok) => {
        if (!ok || event?.pingData?.signalStatus !== "ready") return;
        message.gpp = event.pingData.gppString;
        changed();
      }),
    );
    // Updated values are the visitor's choice; all others are defaults.
    const types = Object.entries(window.google_tag_data?.ics?.entries ?? {});
    const updated = types.filter(([, type]) => typeof type?.update === "boolean");
    if (updated.length)
      message.mode = Object.fromEntries(updated.map(([name, type]) => [name, type.update ? "granted" : "denied"]));
    changed();
  }

  function changed() {
    if (!state) return;
    const cookies = named(document.cookie);
    const now = JSON.stringify([message, cookies]);
    const before = last;
    last = now;
    // The visitor may have chosen after the request, while this script was loaded.
    const first = () => String(cookies) !== String(named(sent)) || (!state.sure && Object.keys(message).length);
    if (before === undefined ? first() : now !== before) update({ ...message });
  }

  check();
  setInterval(check, PAUSE);
  return (answer, cookies) => {
    state = answer;
    sent ??= cookies;
    // Only once, because a browser may reject the cookie.
    if (answer.landing && !begun) {
      begun = true;
      const from = landing();
      if (from) update({ ...message }, from);
    }
    changed();
  };
}

// The first page of this tab's history; without the Navigation API, the page before this one.
function landing() {
  const first = window.navigation?.entries?.()[0]?.url ?? document.referrer;
  return first.startsWith(location.origin + "/") && first !== location.href ? first : undefined;
}
