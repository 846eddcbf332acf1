"""What SQLAlchemy's tests may ask for."""

from sqlalchemy.testing import exclusions
from sqlalchemy.testing.requirements import SuiteRequirements


class Requirements(SuiteRequirements):
    """As of any dialect's, but that there is one schema."""

    schemas = exclusions.closed()
