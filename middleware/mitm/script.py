"""The script for mitmproxy's option `scripts`. mitmproxy loads it as a file and not as part of a package, so
the import is absolute here."""

from clew.middleware.mitm.addon import Clew

addons = [Clew()]
