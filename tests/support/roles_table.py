"""The table of roles in docs/operations.md, made from `desk/roles.py`: `make roles` writes it."""

from pathlib import Path

from clew.desk.roles import RULES
from clew.stores.ledger.roles import ROLES

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
BEGIN, END = "<!-- roles: made from desk/roles.py by `make roles` -->\n", "<!-- /roles -->\n"


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        f"| {role} | `{method} desk{path}` | {RULES[f'{method} {path}'].what} |"
        for role in ROLES
        for method, _, path in (name.partition(" ") for name, rule in RULES.items() if rule.who == role)
    ]
    table = "\n".join(["| from role | page below `/-/clew/` | what |", "|---|---|---|", *rows])
    return f"{before}{BEGIN}\n{table}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
