"""What mitmproxy's option `scripts` names. mitmproxy loads a script as a file and not as a part of its
package, so the import is absolute here."""

from clew.middleware.mitm.addon import Clew

addons = [Clew()]
