"""Runs a short-lived program on a file, with a limit of time, without the loop waiting for it."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Final

AT_ONCE: Final = 2
"""Programs of each kind at the same time; further ones wait for their turn."""


class ProgramError(Exception):
    """A program could not be started, or did not end in time; the text says which."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    output: bytes


class Programs:
    """The programs of one kind: those for files do not wait for those for pages."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def run(self, command: Sequence[str], given: IO[bytes], seconds: float) -> Ended:
        """Run a program with a file as its standard input. Raises ProgramError.

        It gets its own environment without anything of ours but the path: it needs no secrets.
        """
        async with self._turns:
            given.seek(0)
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=given,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"},
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise ProgramError(f"{command[0]}: {error}") from error
            try:
                async with asyncio.timeout(seconds):
                    output, _ = await process.communicate()
            except TimeoutError:
                raise ProgramError(f"{command[0]} did not end within {seconds:g} s") from None
            finally:
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
                    await process.wait()
            assert process.returncode is not None
            return Ended(process.returncode, output)
