"""The table of facts in docs/rules.md, made from `rules/fact_table.py`: `make facts` writes it."""

from pathlib import Path

from clew.rules.fact_table import FACTS, Fact

PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
BEGIN, END = "<!-- facts: made from rules/fact_table.py by `make facts` -->\n", "<!-- /facts -->\n"


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    head = ["| fact | type | unit | what it is | from | cost |", "|---|---|---|---|---|---|"]
    return (
        f"{before}{BEGIN}\n"
        + "\n".join([*head, *(_row(fact) for fact in FACTS if not fact.variant)])
        + f"\n\n{END}{after}"
    )


def _row(fact: Fact) -> str:
    doc = fact.doc
    if fact.name == "page.type":
        doc = f"{doc[:-1]}: {', '.join(fact.values)}."
    return f"| `{fact.name}` | {fact.type} | {fact.unit} | {doc} | {fact.source} | {fact.cost} |"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
