"""pyrqlite and sqlalchemy-rqlite, used as their documentation does. The address is the argument."""

import datetime
import sys

import pyrqlite.dbapi2
from sqlalchemy import Boolean, DateTime, ForeignKey, Integer, String, Text, create_engine, func, inspect, select
from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship

host, port = sys.argv[1].rsplit(":", 1)


def check(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


connection = pyrqlite.dbapi2.connect(host=host, port=int(port))
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE foo (id INTEGER NOT NULL PRIMARY KEY, name TEXT, n REAL)")
    cursor.executemany("INSERT INTO foo (name, n) VALUES (?, ?)", seq_of_parameters=(("a", 1.5), ("b", 2.0)))
    check(cursor.rowcount, 2)
    cursor.execute("INSERT INTO foo (name) VALUES ('it''s')")
    check(cursor.lastrowid, 3)
    cursor.execute("SELECT id, name, n FROM foo WHERE name = :name", {"name": "a"})
    check(cursor.fetchall(), [(1, "a", 1.5)])
    check([column[0] for column in cursor.description], ["id", "name", "n"])
    cursor.execute("UPDATE foo SET n = 7 WHERE id > 1")
    check(cursor.rowcount, 2)
    cursor.execute("CREATE TABLE times (d DATE, t TIMESTAMP, b BOOLEAN)")
    cursor.execute("INSERT INTO times VALUES ('2020-01-02', '2020-01-02 03:04:05.5', 1)")
    cursor.execute("SELECT * FROM times")
    check(cursor.fetchall(), [(datetime.date(2020, 1, 2), datetime.datetime(2020, 1, 2, 3, 4, 5, 500000), True)])
    try:
        cursor.execute("INSERT INTO nowhere VALUES (1)")
        raise AssertionError("a table that is not there took a row")
    except pyrqlite.dbapi2.Error as error:
        assert "no such table: nowhere" in str(error), error


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"
    id = mapped_column(Integer, primary_key=True)
    name = mapped_column(String(20), unique=True)
    born = mapped_column(DateTime)
    on = mapped_column(Boolean)
    posts = relationship("Post", back_populates="user")


class Post(Base):
    __tablename__ = "posts"
    id = mapped_column(Integer, primary_key=True)
    user_id = mapped_column(ForeignKey("users.id"))
    words = mapped_column(Text)
    user = relationship("User", back_populates="posts")


engine = create_engine(f"rqlite+pyrqlite://{host}:{port}/")
Base.metadata.create_all(engine)
born = datetime.datetime(2020, 1, 2, 3, 4, 5)
with Session(engine) as session:
    session.add(User(name="ann", born=born, on=True, posts=[Post(words="one"), Post(words="two")]))
    session.add(User(name="bob", on=False))
    session.commit()
with Session(engine) as session:
    users = session.scalars(select(User).order_by(User.id)).all()
    check([(user.name, user.born, user.on) for user in users], [("ann", born, True), ("bob", None, False)])
    check([post.words for post in users[0].posts], ["one", "two"])
    check(session.execute(select(func.count()).select_from(Post)).scalar(), 2)
    users[1].name = "rob"
    session.delete(users[0].posts[0])
    session.commit()
    check(session.scalars(select(Post.words)).all(), ["two"])
    check(session.scalars(select(User.name).order_by(User.name)).all(), ["ann", "rob"])
# Of the dialect itself: it has the names of tables, and no version of the server, which columns need.
check(inspect(engine).get_table_names(), ["foo", "posts", "times", "users"])
print("done")
