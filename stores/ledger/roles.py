"""What an agent may do, by site: one of three roles, each of which may do all that the ones before it may."""

from collections.abc import Collection, Mapping
from typing import Final, Literal, get_args

from sqlalchemy import ColumnElement, Select, delete, exists, func, insert, or_, select

from .connection import Connection
from .schema import agent_roles, agents

Role = Literal["agent", "lead", "owner"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

ALL_SITES: Final = ""
"""The site of a role that holds at every site."""

Roles = Mapping[str, Role]
"""Roles by site; under ALL_SITES the one for all of them, also for those that are added later."""

_C = agent_roles.c


def role_at(roles: Roles, site: str) -> Role | None:
    """The role at a site: the higher one of that for all sites and that for this one; None for none."""
    found = [roles[one] for one in (ALL_SITES, site) if one in roles]
    return max(found, key=ROLES.index, default=None)


def suffices(role: Role | None, wanted: Role) -> bool:
    """Whether a role may do what `wanted` may."""
    return role is not None and ROLES.index(role) >= ROLES.index(wanted)


def has_role(site: str | None) -> ColumnElement[bool]:
    """Whether a row of `agents` has a role at the site; at any, if it is None."""
    at = () if site is None else (or_(_C.site == ALL_SITES, _C.site == site),)
    return exists().where(_C.agent == agents.c.name, *at)


async def roles_of(tx: Connection, names: Select[tuple[str]] | Collection[str]) -> Mapping[str, Roles]:
    """The roles of these agents, by name."""
    rows = (await tx.execute(select(_C.agent, _C.site, _C.role).where(_C.agent.in_(names)))).all()
    found: dict[str, dict[str, Role]] = {}
    for row in rows:
        found.setdefault(row.agent, {})[row.site] = row.role
    return found


async def write_roles(tx: Connection, name: str, roles: Roles) -> None:
    """Give an agent these roles and no others."""
    await tx.execute(delete(agent_roles).where(_C.agent == name))
    for site, role in roles.items():
        await tx.execute(insert(agent_roles).values(agent=name, site=site, role=role))


async def first_role(tx: Connection) -> Role:
    """The role of an agent for whom none was chosen: the first person of a ledger is its owner."""
    anyone = select(func.count()).select_from(agents).where(agents.c.active, agents.c.partner.is_(None))
    return "agent" if await tx.scalar(anyone) else "owner"
