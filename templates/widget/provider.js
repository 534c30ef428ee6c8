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
    const late = new Promise((done) => setTimeout(done, PATIENCE, false));
    const usable = await Promise.race([this.loading, late]);
    if (this.failed || this.loaded) return this.loaded;
    this.loaded = usable;
    this.failed = !usable;
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
      this.provider = new Provider(attributes, this.report);
      await this.provider.load();
      return true;
    } catch {
      return false;
    }
  }

  open(text) {
    this.act((provider) => provider.open(text));
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

  // A provider may have changed its functions.
  act(what) {
    try {
      if (this.loaded) what(this.provider);
    } catch {
      this.report("failed");
    }
  }
}
