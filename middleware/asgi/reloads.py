"""Reloads the settings of a running middleware."""

import asyncio

from ...service.service import Service
from ...service.swapping import OneProcess
from ...settings.changes import Changes, fixed_problems
from ...settings.load import Problem, SettingsErrors, key_text
from ...settings.loader import Loader
from ...settings.model import Settings
from ...settings.reloading import Reloader


class Reloads:
    """Swaps new settings into `service`. `loader` reads them; None if they did not come from a file."""

    def __init__(self, service: Service, loader: Loader | None) -> None:
        self._service = service
        self._loader = loader
        self._reloader: Reloader | None = None

    def watch(self) -> None:
        """Start watching the files for changes, if the settings say so."""
        if self._loader is not None and self._service.settings.watch:
            self._reloading(self._loader).start()

    def stop(self) -> None:
        """Stop watching the files."""
        if self._reloader is not None:
            self._reloader.stop()
            self._reloader = None

    async def from_file(self) -> Changes:
        """Read the files again. Raises SettingsErrors, and ReloadError if clew stops meanwhile."""
        if self._loader is None:
            raise ValueError("the settings did not come from a file: pass the new ones, reload(settings)")
        result = await asyncio.wrap_future(self._reloading(self._loader).ask())
        if result.errors:
            raise SettingsErrors(result.errors)
        return result.changes

    async def to(self, settings: Settings) -> Changes:
        """Switch to settings that do not come from a file.

        Raises SettingsErrors, and the errors of a site's parts, such as an invalid pattern.
        """
        service = self._service
        problems = [
            Problem("settings", key_text(w.path), None, w.message, w.hint)
            for w in fixed_problems(service.settings, settings)
        ]
        if problems:
            service.refuse_swap(problems, requested=True)
            raise SettingsErrors(problems)
        await asyncio.to_thread(service.sites.try_out, settings)
        changes = service.swap(settings, await asyncio.to_thread(service.sites.prepare, settings))
        service.announce_swap(changes)
        return changes

    def _reloading(self, loader: Loader) -> Reloader:
        if self._reloader is None:
            target = OneProcess(self._service, asyncio.get_running_loop())
            self._reloader = Reloader(loader, target)
        return self._reloader
