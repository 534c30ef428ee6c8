"""The endpoints for programs: the widget in the visitor's browser, and the shop's own server."""
