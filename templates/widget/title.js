// The number of new messages, in the page's title while it is hidden.

class Title {
  constructor() {
    // Before anybody who reads the title: the loader tells the server of it.
    addEventListener("visibilitychange", () => this.show(0), true);
  }

  /** Counts messages in the title, while the page is hidden. */
  show(count) {
    const bare = document.title.replace(/^\(\d+\+?\) /, "");
    const counted = isHidden() && count ? `(${count}) ${bare}` : bare;
    if (document.title !== counted && (this.counted || count)) document.title = counted;
    this.counted = counted !== bare;
  }
}
