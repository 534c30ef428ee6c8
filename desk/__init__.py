"""Everything under the prefix, by who asks: `pages` for people, `api` for the widget and shops, `ops`."""
