import cel
import pytest
from clew.rules.syntax import BRACKETS, Node, UnsupportedError, parse
from hypothesis import given
from hypothesis import strategies as st

LITERALS = (
    ["1", "-2", "3u", "0x1F", "1.5", "2e3", ".5", "true", "false", "null"],
    ["'a'", '"b"', "r'\\'", "'''c\nd'''", "b'e'", "'q\\'q'", '"\\u00fc"'],
    ["a", "b.c", "visit.pages", "m['k']", "[1, 2]", "[]", "{'k': 1}", "{}"],
)
ATOMS = st.sampled_from([literal for some in LITERALS for literal in some])


def lines(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!=", "in", "&&", "||"])
    return st.one_of(
        st.builds("{} {} {}".format, inner, operators, inner),
        st.builds("({})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("-({})".format, inner),
        st.builds("{} ? {} : {}".format, inner, inner, inner),
        st.builds("({}).f({}, {})".format, inner, inner, inner),
        st.builds("[1].exists(e, e == {})".format, inner),
        st.builds("size({}) // why\n".format, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("({})[{}]".format, inner, inner),
    )


@given(st.recursive(ATOMS, lines, max_leaves=12))
def test_all_syntax_of_the_engine_is_parsed(line: str) -> None:
    try:
        cel.compile(line)
    except ValueError:
        return
    tree = parse(line)
    for node in tree.walk():
        for part in node.parts:
            assert node.start <= part.start < part.end <= node.end


def sums(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["+", "-", "*", "==", "<"])
    return st.builds("{} {} {}".format, inner, operators, st.builds("({})".format, inner) | inner)


@given(st.recursive(st.sampled_from(["1", "2", "3", "7"]), sums, max_leaves=8))
def test_precedence_is_that_of_the_engine(line: str) -> None:
    """Putting brackets where the tree has its nodes changes no value."""
    tree = parse(line)

    def bracketed(node: Node) -> str:
        if node.kind != "binary":
            return line[node.start : node.end]
        left, right = node.parts
        return f"({bracketed(left)} {node.value} {bracketed(right)})"

    assert outcome(bracketed(tree)) == outcome(line)


def outcome(line: str) -> object:
    try:
        return cel.compile(line).execute({})
    except TypeError:
        return "no overload"


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("visit.pages = 3", 12),
        ("visit.pages >", 13),
        ("Point{x: 1}", 5),
        ("a b", 2),
        ("(a", 2),
        ("a.1", 1),
        ("'open", 0),
        ("a ? b", 5),
        ("[1 2]", 3),
        ("{'a' 1}", 5),
    ],
)
def test_an_unreadable_value_is_refused_with_its_position(line: str, at: int) -> None:
    with pytest.raises(UnsupportedError) as caught:
        parse(line)
    assert caught.value.at == at


@pytest.mark.parametrize(
    "line",
    [
        "(" * 400 + "true" + ")" * 400,
        "!" * 900 + "true",
        "1" + "+1" * 400,
        "[" * 400 + "]" * 400,
        "a" + ".b" * 400,
    ],
)
def test_deep_nesting_is_refused_and_never_overflows_the_stack(line: str) -> None:
    with pytest.raises(UnsupportedError, match="nested too deeply"):
        parse(line)


def test_brackets_up_to_the_bound_are_read() -> None:
    depth = BRACKETS - 1
    assert parse("(" * depth + "true" + ")" * depth).kind == "bool"
