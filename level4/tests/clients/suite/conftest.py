"""SQLAlchemy's own tests of a dialect (sqlalchemy.testing.suite), for sqlalchemy-rqlite."""

import pathlib

import pytest
from sqlalchemy.dialects import registry

# The package registers its dialect with a driver's name only, and the tests look for it without one.
registry.register("rqlite", "sqlalchemy_rqlite.pyrqlite", "dialect")
pytest.register_assert_rewrite("sqlalchemy.testing.assertions")

from sqlalchemy.testing.plugin.pytestplugin import *  # noqa: E402,F403
from sqlalchemy.testing.plugin import pytestplugin  # noqa: E402
from sqlalchemy.testing.provision import temp_table_keyword_args  # noqa: E402

LIMITS = [
    line.split("#")[0].strip()
    for line in (pathlib.Path(__file__).parent / "limits.txt").read_text().splitlines()
]
LIMITS = [line for line in LIMITS if line]


@temp_table_keyword_args.for_db("rqlite")
def temporary_tables(config, engine):
    """How they are made."""
    return {"prefixes": ["TEMPORARY"]}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session, config, items):
    """Leaves out what the dialect cannot do whatever the server."""
    pytestplugin.pytest_collection_modifyitems(session, config, items)
    items[:] = [item for item in items if not any(is_of(item.nodeid, limit) for limit in LIMITS)]


def is_of(nodeid, limit):
    """Whether a test is named by `Class` or `Class::test`."""
    _, cls, name = (nodeid.split("::") + ["", ""])[:3]
    wanted, _, test = limit.partition("::")
    return cls.split("_sqlite+")[0] == wanted and (not test or name.split("[")[0] == test)
