"""All of SQLAlchemy's tests for dialects."""

from sqlalchemy.testing.suite import *  # noqa: F401,F403
