"""Users of a trial ground: they ask its front door, and remember who answered them, and how."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from benchmarks.fix_ground import Ground

Users = Counter[tuple[str, int]]  # (the instance that answered, its status) -> how often


def seen(users: Users, *names: str) -> int:
    """How many of the answers these instances gave."""
    return sum(count for (name, _), count in users.items() if name in names)


def ask(ground: Ground, users: Users, count: int) -> None:
    connection = HTTPConnection("127.0.0.1", ground.port, timeout=10)
    for _ in range(count):
        connection.request("GET", "/")
        response = connection.getresponse()
        response.read()
        users[response.getheader("x-instance", ""), response.status] += 1
    connection.close()


def asking(ground: Ground, users: Users | None = None, count: int = 200) -> Callable[[float], None]:
    """A sleep for the canary: so many requests instead of waiting."""
    return lambda _seconds: ask(ground, Users() if users is None else users, count)


@contextmanager
def traffic(ground: Ground, rate: float = 100) -> Iterator[Users]:
    """One request after the other, about so many a second, until the block ends."""
    users, is_over = Users(), threading.Event()

    def send() -> None:
        while not is_over.wait(1 / rate):
            ask(ground, users, 1)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield users
    finally:
        is_over.set()
        sender.join()
