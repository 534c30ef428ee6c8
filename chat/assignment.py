"""Who gets which of the waiting conversations. No I/O: a test feeds it values."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Way = Literal["free", "round_robin", "language"]
"""`free`: nobody is given any, who answers first has it. `round_robin`: in turn. `language`: in turn among
those who speak the visitor's language."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conversation that nobody has, and since when it waits for an answer, in unix seconds. `network` is
    that of the visitor, None where an agent has answered before, or where it is not known."""

    id: str
    language: str
    department: str | None
    since: float
    network: str | None = None


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many conversations of one client network may be in agents' hands before somebody has answered them,
    and how many of each network are. Else a stranger who opens twenty takes the places of everybody."""

    most: int
    taken: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Person:
    """An agent who takes conversations now: how many more, and when the last one was given to it."""

    name: str
    places: int
    languages: frozenset[str] = frozenset()
    departments: frozenset[str] = frozenset()
    given_at: float = 0.0


def assignments(
    waiting: Iterable[Waiting],
    people: Iterable[Person],
    way: Way,
    widen: float,
    now: float,
    crowd: Crowd | None = None,
) -> Sequence[tuple[str, str]]:
    """Pairs of a conversation and the agent who gets it, those that have waited longest first. Nobody gets
    more than its places, and no client network more than its `crowd` allows. A conversation of which only
    others than its language and department ask for are there waits for those, and after `widen` seconds
    (0: never) anybody gets it."""
    if way == "free":
        return []
    there = {person.name: person for person in people if person.places > 0}
    given = []
    taken = Counter({} if crowd is None else crowd.taken)
    for talk in sorted(waiting, key=lambda talk: (talk.since, talk.id)):
        if not there:
            break
        if crowd is not None and talk.network is not None and taken[talk.network] >= crowd.most:
            continue
        late = widen > 0 and now - talk.since >= widen
        fitting = [one for one in there.values() if _fits(one, talk, way)] or (
            list(there.values()) if late else []
        )
        if not fitting:
            continue
        person = min(fitting, key=lambda one: (one.given_at, one.name))
        given.append((talk.id, person.name))
        if talk.network is not None:
            taken[talk.network] += 1
        # Behind all others, in the order in which they were given one.
        turn = max(now, *(one.given_at for one in there.values())) + 1e-6
        there[person.name] = replace(person, places=person.places - 1, given_at=turn)
        if person.places == 1:
            del there[person.name]
    return given


def _fits(person: Person, talk: Waiting, way: Way) -> bool:
    speaks = way != "language" or talk.language in person.languages
    return speaks and (talk.department is None or talk.department in person.departments)
