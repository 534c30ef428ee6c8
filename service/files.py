"""Files and pictures of conversations: checked, scanned, made anew, and kept."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from .. import chat
from ..chat.files import PDF, TEXT, FileRefusedError, Sniffer, checked, safe_name
from ..chat.model import Added, Extra
from ..chat.picture import BROKEN, TOO_LARGE
from ..events.events import Events
from ..referral.cookie import Known
from ..settings.model import Files as FileSettings
from ..settings.model import Site
from ..stores.ledger.books import Ledger
from ..stores.ledger.files import AT_ONCE, PART, File, FilesFullError, ManyFilesError, new_file_id
from .clock import Clock
from .conversations import Conversations, VisitorMessage
from .limits import Limits
from .programs import ProgramError, Programs
from .site import SiteRuntime

SIDE: Final = 2048
"""Most pixels of a picture's longer side: as many as a screen shows."""

PICTURE_SECONDS: Final = 30.0
INFECTED: Final = 1
"""The exit code of scanners that found something: clamdscan's and clamscan's, and others follow it."""

MEGABYTE: Final = 2**20
DAY: Final = 86400.0
_MAKER: Final = str(Path(chat.__file__).with_name("picture.py"))


@dataclass(slots=True)
class Upload:
    """A file that came, on disk; `name` is what its sender calls it."""

    file: IO[bytes]
    name: str
    size: int
    sniffer: Sniffer


@dataclass(frozen=True, slots=True)
class _Ready:
    type: str
    size: int
    parts: Iterable[bytes]
    width: int | None = None
    height: int | None = None


class Files:
    """The files of all sites. Every method raises the ledger's errors."""

    def __init__(
        self, ledger: Ledger, conversations: Conversations, limits: Limits, events: Events, clock: Clock
    ) -> None:
        self._books = ledger.files
        self._conversations = conversations
        self._talks = ledger.conversations
        self._limits = limits
        self._events = events
        self._clock = clock
        self._programs = Programs()

    async def visitor_sends(
        self, site: SiteRuntime, known: Known, sent: VisitorMessage, upload: Upload, client: str | None
    ) -> Added:
        """Add a visitor's file to its conversation. `sent.text` is not read. Raises FileRefusedError,
        MessageError, BlockedError and LimitedError."""
        if not site.settings.files.from_visitors:
            raise FileRefusedError("type", "this shop takes no files from visitors")
        await self._conversations.require_not_blocked(site.name, known.visitor, client)
        self._limits.take("files", site.name, client)
        found, _ = await self._talks.visitor_messages(site.name, known.visitor)
        file = await self._take(site, upload, None if found is None else found.id, "visitor")
        try:
            added = await self._conversations.visitor_says(
                site,
                known,
                VisitorMessage(file.name, sent.client_id, sent.language, sent.rule),
                client,
                Extra("file", file.data),
            )
        except BaseException:
            await self._books.drop(file.id)
            raise
        return await self._sent(added, file)

    async def agent_sends(
        self,
        site: SiteRuntime,
        conversation: str,
        upload: Upload,
        *,
        agent: str,
        client_id: str | None,
    ) -> Added:
        """Add an agent's file to a conversation of the site. Raises FileRefusedError."""
        file = await self._take(site, upload, conversation, agent)
        try:
            added = await self._conversations.agent_says(
                site,
                conversation,
                file.name,
                agent=agent,
                client_id=client_id,
                extra=Extra("file", file.data),
            )
        except BaseException:
            await self._books.drop(file.id)
            raise
        return await self._sent(added, file)

    async def prune(self, sites: Iterable[Site]) -> int:
        """Delete the files that are older than their site keeps them; how many."""
        now, gone = self._clock.now(), 0
        before = {site.name: now - site.files.keep * DAY for site in sites}
        while True:
            count = await self._books.prune(before, now)
            gone += count
            if count < AT_ONCE:
                return gone

    async def _sent(self, added: Added, file: File) -> Added:
        if not added.created:
            # It was sent before, and the answer was lost.
            await self._books.drop(file.id)
            return added
        talk = added.conversation
        fields = {"conversation": talk.id, "visitor": talk.visitor, "agent": added.message.agent}
        self._events.emit("file", site=talk.site, type=file.type, size=file.size, **fields)
        return added

    async def _take(self, site: SiteRuntime, upload: Upload, conversation: str | None, by: str) -> File:
        """Check a file, make it ready and write its bytes. Raises FileRefusedError."""
        try:
            await self._require_room(site, upload.size, conversation)
            ready = await self._ready(site, upload)
            name = safe_name(upload.name, ready.type)
            file = File(new_file_id(), name, ready.type, ready.size, ready.width, ready.height)
            await self._begin(site, file, conversation)
        except FileRefusedError as refused:
            fields = {"reason": refused.reason, "why": str(refused), "by": by}
            self._events.emit("file_refused", site=site.name, **fields)
            raise
        try:
            for number, part in enumerate(ready.parts):
                await self._books.add_part(file.id, number, part)
        except BaseException:
            await self._books.drop(file.id)
            raise
        return file

    async def _require_room(self, site: SiteRuntime, size: int, conversation: str | None) -> None:
        """Before the work with it; `_begin` decides."""
        if conversation is not None and await self._books.count(conversation) >= _most(site):
            raise self._many(site)
        if await self._books.kept(site.name) + size > _room(site):
            raise self._full(site)

    async def _begin(self, site: SiteRuntime, file: File, conversation: str | None) -> None:
        now, room, most = self._clock.now(), _room(site), _most(site)
        try:
            await self._books.begin(site.name, file, now, room=room, conversation=conversation, most=most)
        except ManyFilesError:
            raise self._many(site) from None
        except FilesFullError:
            raise self._full(site) from None

    def _many(self, site: SiteRuntime) -> FileRefusedError:
        return FileRefusedError("many", f"a conversation has at most {_most(site)} files")

    def _full(self, site: SiteRuntime) -> FileRefusedError:
        most = site.settings.files.total_megabytes
        self._events.notice("files_full", site=site.name, key="files", most=most)
        return FileRefusedError("full", "there is no room for more files now")

    async def _ready(self, site: SiteRuntime, upload: Upload) -> _Ready:
        settings = site.settings.files
        if not upload.size:
            raise FileRefusedError("type", "the file is empty")
        kind = checked(upload.sniffer.kind(), upload.name, settings.types)
        await self._scan(site, settings, upload)
        if kind == "picture":
            return await self._picture(settings, upload)
        upload.file.seek(0)
        return _Ready(PDF if kind == "pdf" else TEXT, upload.size, _parts(upload.file))

    async def _scan(self, site: SiteRuntime, settings: FileSettings, upload: Upload) -> None:
        """Raises FileRefusedError for a file in which the scanner finds something, and where there is no
        telling."""
        if not settings.scan:
            return
        try:
            ended = await self._programs.run(settings.scan, upload.file, settings.scan_seconds)
            why = "" if ended.code in (0, INFECTED) else f"{settings.scan[0]} ended with {ended.code}"
        except ProgramError as error:
            ended, why = None, str(error)
        if ended is None or why:
            self._events.notice("file_unscanned", site=site.name, key="scan", why=why)
            raise FileRefusedError("unscanned", "the file cannot be checked now: try again later")
        if ended.code:
            raise FileRefusedError("infected", "the scanner for viruses found something in the file")

    async def _picture(self, settings: FileSettings, upload: Upload) -> _Ready:
        numbers = (settings.megapixels * 1_000_000, SIDE, settings.megabytes * MEGABYTE)
        command = [sys.executable, "-I", _MAKER, *map(str, numbers)]
        try:
            ended = await self._programs.run(command, upload.file, PICTURE_SECONDS)
        except ProgramError as error:
            raise FileRefusedError("broken", f"the picture cannot be read: {error}") from error
        if ended.code == TOO_LARGE:
            raise FileRefusedError("size", f"a picture has at most {settings.megapixels} megapixels")
        if ended.code:
            raise FileRefusedError(
                "broken", "the picture is broken" if ended.code == BROKEN else "the picture cannot be read"
            )
        head, _, data = ended.output.partition(b"\n")
        made = json.loads(head)
        parts = (data[at : at + PART] for at in range(0, len(data), PART))
        return _Ready(made["type"], len(data), parts, made["width"], made["height"])


def _most(site: SiteRuntime) -> int:
    return site.settings.files.per_conversation


def _room(site: SiteRuntime) -> int:
    return site.settings.files.total_megabytes * MEGABYTE


def _parts(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(PART):
        yield part
