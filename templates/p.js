// The chat of another company on the page, by its entry in chat/providers.toml, which is served with this script.

const ENTRY = "clew:entry";
const SIGNALS = JSON.stringify([ENTRY.before, ENTRY.after]).includes('"{ready}"');

const find = (root, path) => path.split(".").reduce((found, name) => found?.[name], root);

// The object that has the last name of a path, and that name.
function place(root, path) {
  const names = path.split(".");
  const last = names.pop();
  return [names.reduce((found, name) => (found[name] ??= {}), root), last];
}

export const title = ENTRY.title;

/** One provider on the page. `report(event, id, value)` is called with what it tells. */
export class Provider {
  constructor(attributes, report) {
    this.attributes = attributes;
    this.report = report;
    const now = new Date();
    const day = `${now.getFullYear()}${now.getMonth() + 1}${now.getDate()}`;
    this.words = { ref: attributes.clew_ref, day, five_minutes: Math.ceil(now / 3e5) * 3e5 };
    this.ready = new Promise((done) => (this.done = done));
  }

  /** Loads the provider's script; settles when its chat can be used, or cannot. */
  load() {
    return new Promise((loaded, failed) => {
      this.run("before");
      const script = document.createElement("script");
      for (const [name, value] of Object.entries(ENTRY.script_attributes ?? {})) script.setAttribute(name, value);
      if (ENTRY.script_id) script.id = ENTRY.script_id;
      script.async = true;
      script.src = this.fill(ENTRY.script, {});
      script.addEventListener("error", () => failed(new Error(`${script.src} was not loaded`)));
      script.addEventListener("load", () => {
        try {
          this.run("after");
          if (!SIGNALS) this.done();
        } catch (error) {
          failed(error);
        }
      });
      this.ready
        .then(() => {
          this.run("attributes");
          this.run("events");
          loaded();
        })
        .catch(failed);
      if (ENTRY.element) {
        const element = document.createElement(ENTRY.element);
        for (const [name, value] of Object.entries(ENTRY.element_attributes)) element.setAttribute(name, value);
        document.body.append(element);
      }
      document.head.append(script);
    });
  }

  /** Gives the provider attributes that have changed, as on another page of an application. */
  renew(attributes) {
    if (JSON.stringify(attributes) === JSON.stringify(this.attributes)) return;
    this.attributes = attributes;
    this.run("attributes");
  }

  /** Opens the chat, with the beginning of the visitor's message if the provider can. */
  open(text) {
    this.run(text && ENTRY.ask ? "ask" : "open", { text });
  }

  /** Opens the chat with a text of the shop, where the provider can say one. */
  say(text) {
    this.run("say", { text });
  }

  hide() {
    this.run("hide");
  }

  show() {
    this.run("show");
  }

  run(name, more) {
    for (const step of ENTRY[name] ?? []) this.step(step, window, more);
  }

  step([verb, path, ...rest], root, more) {
    if (verb === "each") {
      for (const pair of this.pairs()) for (const step of path) this.step(step, root, { ...more, ...pair });
      return;
    }
    if (verb === "with") {
      const inside = (api, own) => rest[0].forEach((step) => this.step(step, own ?? api, more));
      const call = function (api) {
        inside(api, this === window ? undefined : this);
      };
      return this.call(root, path, [call]);
    }
    if (verb === "listen") {
      return find(root, path).addEventListener(rest[0], this.fill(rest[1], more));
    }
    const values = rest.map((value) => this.fill(value, more));
    const [value] = values;
    if (verb === "call") return this.call(root, path, values);
    const [owner, name] = place(root, verb === "new" ? value : path);
    const before = owner[name];
    if (verb === "set") owner[name] = value;
    if (verb === "default") owner[name] ??= value;
    if (verb === "new") owner[name] = new (find(root, path))(...values.slice(1));
    if (verb === "methods") owner[name] ??= queue(...values);
    if (verb === "chain") {
      owner[name] = function (...args) {
        value(...args);
        return before?.apply(this, args);
      };
    }
    if (verb === "stub") {
      owner[name] ??= function () {
        find(root, rest[0]).push(arguments);
      };
      const [list, key] = place(root, rest[0]);
      list[key] ??= [];
    }
  }

  call(root, path, values) {
    const [owner, name] = place(root, path);
    return owner[name](...values);
  }

  pairs() {
    return Object.entries(this.attributes).map(([key, value]) => ({ key, value }));
  }

  fill(value, more) {
    if (value === "{ready}") return () => this.done();
    if (value === "{attributes}") return { ...this.attributes };
    if (value === "{now}") return new Date();
    if (typeof value === "string") {
      const words = { ...this.words, ...more };
      return value.replace(/\{(\w+)\}/g, (all, name) => words[name] ?? all);
    }
    if (Array.isArray(value)) {
      const events = value.length && value.every((one) => one?.event);
      return events ? this.listener(value) : value.map((one) => this.fill(one, more));
    }
    if (typeof value !== "object" || value === null) return value;
    if ("event" in value) return this.listener([value]);
    if ("assign" in value) return (...args) => Object.assign(find(args, value.assign) ?? {}, this.attributes);
    if ("list" in value) return this.pairs().map((pair) => this.fill(value.list, { ...more, ...pair }));
    return Object.fromEntries(
      Object.entries(value).map(([name, one]) => [this.fill(name, more), this.fill(one, more)]),
    );
  }

  // Called by the provider's code, which must not see our faults.
  listener(tables) {
    return (...args) => {
      try {
        for (const { event, id, in: inside, value, when } of tables) {
          const found = Array.isArray(value) ? this.step(value, window) : value && find(args, value);
          if (when && !when.includes(found)) continue;
          const named = Array.isArray(id) ? this.step(id, window) : id && find(args, id);
          this.report(event, inside ? find(named, inside) : named, found);
        }
      } catch {
        // The provider told something else than its entry says.
      }
    };
  }
}

// What a provider's own snippet puts in the place of its script until that is loaded.
function queue(names, form) {
  const kept = form ? { ...form, [form.queue]: [] } : [];
  for (const name of names) {
    kept[name] = (...args) => {
      if (!form) kept.push([name, ...args]);
      else if (kept[form.handler]) return kept[form.handler](name, args);
      else kept[form.queue].push([name, args]);
    };
  }
  return kept;
}
