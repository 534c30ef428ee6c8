"""Who gets which conversation, without a database."""

from collections import Counter

from clew.chat.assignment import Crowd, Person, Waiting, Way, assignments
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_700_000_000.0


def waiting(number: int, language: str = "de", department: str | None = None, since: float = 0) -> Waiting:
    return Waiting(f"t{number}", language, department, NOW - 10 + since)


def test_free_gives_nothing() -> None:
    assert assignments([waiting(1)], [Person("anna", 3)], "free", 60, NOW) == []


def test_round_robin_begins_with_who_was_given_one_longest_ago() -> None:
    people = [Person("anna", 2, given_at=NOW - 1), Person("bo", 2, given_at=NOW - 5), Person("cy", 2)]
    found = assignments([waiting(n, since=n) for n in range(5)], people, "round_robin", 60, NOW)
    assert found == [("t0", "cy"), ("t1", "bo"), ("t2", "anna"), ("t3", "cy"), ("t4", "bo")]


def test_who_waits_longest_comes_first() -> None:
    people = [Person("anna", 1)]
    found = assignments([waiting(1, since=5), waiting(2)], people, "round_robin", 60, NOW)
    assert found == [("t2", "anna")]


def test_a_language_waits_for_who_speaks_it_and_then_for_anybody() -> None:
    people = [Person("anna", 3, frozenset({"fi"})), Person("bo", 1, frozenset({"de"}))]
    talks = [waiting(1), waiting(2)]
    assert assignments(talks, people, "language", 60, NOW) == [("t1", "bo")]
    assert assignments(talks, people, "language", 60, NOW + 60) == [("t1", "bo"), ("t2", "anna")]
    assert assignments(talks, people, "language", 0, NOW + 6000) == [("t1", "bo")]


def test_a_department_has_its_own_people() -> None:
    people = [Person("anna", 3, departments=frozenset({"sales"})), Person("bo", 3)]
    found = assignments(
        [waiting(1, department="sales"), waiting(2, department="billing"), waiting(3)],
        people,
        "round_robin",
        60,
        NOW,
    )
    assert dict(found) == {"t1": "anna", "t3": "bo"}


def test_one_network_gets_no_more_than_its_part_before_somebody_answers() -> None:
    talks = [Waiting(f"t{n}", "de", None, NOW - 10 + n, "a" if n < 4 else None) for n in range(6)]
    people = [Person("anna", 9)]
    crowd = Crowd(3, {"a": 1, "b": 9})
    given = assignments(talks, people, "round_robin", 60, NOW, crowd)
    assert [talk for talk, _ in given] == ["t0", "t1", "t4", "t5"]


names = st.sampled_from(["anna", "bo", "cy", "di"])
languages = st.sampled_from(["de", "fi", "fr"])
departments = st.sampled_from(["sales", "billing"])
people_ = st.lists(
    st.builds(
        Person,
        names,
        st.integers(0, 3),
        st.frozensets(languages),
        st.frozensets(departments),
        st.floats(NOW - 100, NOW),
    ),
    unique_by=lambda person: person.name,
)
talks_ = st.lists(
    st.builds(
        Waiting,
        st.integers(0, 30).map("t{}".format),
        languages,
        st.none() | departments,
        st.floats(NOW - 100, NOW),
    ),
    unique_by=lambda talk: talk.id,
)


@given(talks_, people_, st.sampled_from(["round_robin", "language"]), st.permutations(range(4)))
def test_nobody_gets_more_than_fits_and_nothing_waits_that_somebody_could_take(
    talks: list[Waiting], people: list[Person], way: Way, order: list[int]
) -> None:
    given_ = assignments(talks, people, way, 60, NOW)
    by_id, by_name = {talk.id: talk for talk in talks}, {person.name: person for person in people}
    counts = Counter(name for _, name in given_)
    assert len({talk for talk, _ in given_}) == len(given_)
    assert all(counts[name] <= by_name[name].places for name in counts)
    for talk, name in given_:
        late = NOW - by_id[talk].since >= 60
        speaks = way != "language" or by_id[talk].language in by_name[name].languages
        wanted = by_id[talk].department in (None, *by_name[name].departments)
        assert late or (speaks and wanted)
    left = [talk for talk in talks if talk.id not in dict(given_)]
    free = [person for person in people if person.places > counts[person.name]]
    for talk in left:
        late = NOW - talk.since >= 60
        fits = [
            person
            for person in free
            if (way != "language" or talk.language in person.languages)
            and talk.department in (None, *person.departments)
        ]
        assert not fits
        assert not (late and free)
    # The order in which the database lists them changes nothing.
    mixed = [people[place] for place in order if place < len(people)]
    assert assignments(talks[::-1], mixed, way, 60, NOW) == given_
