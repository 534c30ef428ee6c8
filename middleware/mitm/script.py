"""The script for mitmproxy's option `scripts`. mitmproxy loads it as a file and not as part of a package, so
the import is absolute here."""

import gc

# As in clew.__main__.
gc.disable()
try:
    from clew.middleware.mitm.addon import Clew
finally:
    gc.freeze()
    gc.enable()

addons = [Clew()]
