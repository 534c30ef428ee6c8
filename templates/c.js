// Watches what the visitor consents to, on pages of shops that ask: the IAB's interfaces, Google's Consent Mode, and
// the cookies of consent tools. Nothing is stored on the device: what is told is forgotten with the page.
const PAUSE = 500; // ms between two looks
// The cookies of referral/consent/cookies.toml.
const COOKIES =
  /^(euconsent-v2|eupubconsent-v2|Optanon(Consent|AlertBoxClosed)|CookieConsent|didomi_token|cookieyes-consent|cookielawinfo-checkbox-.*|viewed_cookie_policy|cmplz_.*|borlabs-cookie|klaro|__cmpcpcx.*|__cmpconsentx.*|cookiefirst-consent|_iub_cs-.*|CookieInformationConsent|CookieScriptConsent|CookieControl|cmapi_cookie_privacy|tarteaucitron|axeptio_cookies|_tracking_consent|wp_consent_.*|user_allowed_save_cookie)=/;

export function watch(tell) {
  const message = {};
  const asked = {};
  let last, state, begun;

  function ask(name, call) {
    if (asked[name] || typeof window[name] !== "function") return;
    asked[name] = true;
    call(window[name]);
  }

  function look() {
    ask("__tcfapi", (tcf) =>
      tcf("addEventListener", 2, (data, ok) => {
        // While the dialog is open, the string holds defaults.
        if (!ok || data.eventStatus === "cmpuishown") return;
        message.gdpr = data.gdprApplies;
        message.tcf = data.tcString;
        changed();
      }),
    );
    ask("__gpp", (gpp) =>
      gpp("addEventListener", (event, ok) => {
        if (!ok || event?.pingData?.signalStatus !== "ready") return;
        message.gpp = event.pingData.gppString;
        changed();
      }),
    );
    // What was updated is the visitor's choice; what was not is a default.
    const types = Object.entries(window.google_tag_data?.ics?.entries ?? {});
    const updated = types.filter(([, type]) => typeof type?.update === "boolean");
    if (updated.length)
      message.mode = Object.fromEntries(updated.map(([name, type]) => [name, type.update ? "granted" : "denied"]));
    changed();
  }

  function changed() {
    if (!state) return;
    const cookies = document.cookie.split(/;\s*/).filter((cookie) => COOKIES.test(cookie));
    const now = JSON.stringify([message, cookies]);
    const before = last;
    last = now;
    // The cookies of the first look came with the request.
    const first = before === undefined;
    if (first ? !state.sure && Object.keys(message).length : now !== before) tell({ ...message });
  }

  look();
  setInterval(look, PAUSE);
  return (answer) => {
    state = answer;
    // Once: a browser may refuse our cookie.
    if (answer.landing && !begun) {
      begun = true;
      const from = landing();
      if (from) tell({ ...message }, from);
    }
    changed();
  };
}

// Where the visit began, as the browser's own history of this tab has it; where it has none, the page before this one.
function landing() {
  const first = window.navigation?.entries?.()[0]?.url ?? document.referrer;
  return first.startsWith(location.origin + "/") && first !== location.href ? first : undefined;
}
