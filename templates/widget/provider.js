// The chat of another company in place of clew's own: loaded when the visitor opens it, or with the page.

const PATIENCE = 3000; // ms until something else is offered

class Elsewhere {
  /** `report(event, id)` is called with what the provider tells. */
  constructor(base, report) {
    this.base = base;
    this.report = report;
    this.loaded = false;
    this.failed = false;
  }

  /** Loads the provider once; returns whether its chat can be used, at the latest after PATIENCE. */
  async load(attributes) {
    this.loading ??= this.start(attributes);
    if (this.loaded) this.act((provider) => provider.renew(attributes));
    const late = new Promise((done) => setTimeout(done, PATIENCE, false));
    const usable = await Promise.race([this.loading, late]);
    if (this.failed || this.loaded) return this.loaded;
    this.loaded = usable;
    this.failed = !usable;
    // The provider shows the visitor's code from now on, and may have no event of its own by which clew keeps it.
    if (usable && attributes.clew_code) this.report("loaded");
    if (this.failed) {
      this.report("failed");
      // What comes too late would be a second chat.
      this.loading.then((came) => came && this.provider.hide()).catch(() => {});
    }
    return usable;
  }

  async start(attributes) {
    try {
      const { Provider } = await import(this.base + "p.js");
      // A chat that has come reports its errors, and can be used all the same.
      const heard = (event, id) => (event === "failed" && this.loaded) || this.report(event, id);
      this.provider = new Provider(attributes, heard);
      await this.provider.load();
      return true;
    } catch {
      return false;
    }
  }

  /** Returns whether it was opened: a provider may have changed its functions. */
  open(text) {
    this.loaded = this.act((provider) => provider.open(text));
    this.failed = !this.loaded;
    if (this.failed) this.report("failed");
    return this.loaded;
  }

  hide() {
    this.hidden = true;
    this.act((provider) => provider.hide());
  }

  /** After `hide`. */
  show() {
    if (this.hidden) this.act((provider) => provider.show());
    this.hidden = false;
  }

  act(what) {
    try {
      if (this.loaded) what(this.provider);
      return true;
    } catch {
      return false;
    }
  }
}
