"""The ways to a store's servers: straight to the only one, to the master sentinels name, to a key's node of a cluster.

Routes never repeat a command: they fail, are told that they are in doubt, look again, and the store tries again.
"""

import asyncio
import binascii
import random
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

from redis import exceptions as errors

from providers.limit import Limit
from service.store_address import Host, Mode, StoreAddress
from service.store_node import Command, Node

LOOK: Final = 1.0
"""Seconds one server may take to say where the others are."""
_SLOTS: Final = 16384
_SINGLE: Final = "it is no cluster; write its address as redis://, rediss:// or unix://"
_TAG = re.compile(r"[^{]*\{([^}]+)\}")

Meet = Callable[[Host | str], Node]
"""Makes the node for a place."""


class Routes(Protocol):
    """Where commands go."""

    def send(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        """Send commands, in order as far as they go to one server; errors stand among the answers.

        Raises a RedisError or OSError when there are no answers.
        """

    async def nodes(self) -> list[Node]:
        """The servers that take writes."""

    def doubt(self) -> None:
        """Look for the servers again before the next command."""

    async def close(self) -> None:
        """Close every connection; may be called twice."""


def routes(address: StoreAddress, patience: float) -> Routes:
    """The routes of an address, on which one exchange takes `patience` seconds at most."""

    def meet(place: Host | str) -> Node:
        return Node(place, address.login, address.tls, patience)

    if address.mode is Mode.CLUSTER:
        return Cluster(address.hosts, meet)
    if address.mode is Mode.SENTINEL:
        sentinels = [Node(host, address.sentinel_login, address.tls, LOOK) for host in address.hosts]
        return Watched(sentinels, address.service, meet)
    return Straight(meet(address.socket or address.hosts[0]))


class Straight:
    """The way to the one server."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def send(self, commands: Sequence[Command]) -> Awaitable[list[Any]]:
        return self._node.ask(commands)

    async def nodes(self) -> list[Node]:
        return [self._node]

    def doubt(self) -> None:
        """There is nowhere else to look."""

    async def close(self) -> None:
        await self._node.close()


class Watched:
    """The way to the master that sentinels name; it is asked for its role, since they may be late."""

    def __init__(self, sentinels: list[Node], service: str, meet: Meet) -> None:
        self._sentinels = sentinels
        self._service = service
        self._meet = meet
        self._master: Node | None = None
        self._sure = False
        self._looking = asyncio.Lock()

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        node = self._master if self._master and self._sure else await self._found()
        return await node.send(commands)

    async def nodes(self) -> list[Node]:
        return [await self._found()]

    def doubt(self) -> None:
        self._sure = False

    async def close(self) -> None:
        for node in [*self._sentinels, *([self._master] if self._master else [])]:
            await node.close()

    async def _found(self) -> Node:
        async with self._looking:
            if self._sure and self._master:
                return self._master
            node, old = await self._look(), self._master
            self._master, self._sure = node, True
            if old and old is not node:
                await old.close()
            return node

    async def _look(self) -> Node:
        why: Exception = errors.ConnectionError("no sentinel answers")
        tried = set()
        for sentinel in list(self._sentinels):
            try:
                place = await _ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
                if place is None:
                    why = errors.ConnectionError(f"the sentinels know no service named {self._service}")
                elif (host := (place[0], int(place[1]))) not in tried:
                    tried.add(host)
                    node = await self._checked(host)
                    self._sentinels.sort(key=lambda one: one is not sentinel)
                    return node
            except (errors.RedisError, OSError) as error:
                why = error
        raise why

    async def _checked(self, place: Host) -> Node:
        """The node of a place if it is a master."""
        known = self._master if self._master and self._master.place == place else None
        node = known or self._meet(place)
        try:
            role = await _ask(node, "ROLE")
            if role[0] != "master":
                raise errors.ReadOnlyError("it is a read-only replica", status_code="READONLY")
        except BaseException:
            if node is not known:
                await node.close()
            raise
        return node


class Cluster:
    """The ways to the nodes of a cluster, each for its slots; MOVED and ASK are followed."""

    def __init__(self, hosts: Sequence[Host], meet: Meet) -> None:
        self._hosts = hosts
        self._meet = meet
        self._known: dict[Host, Node] = {}
        self._silent: set[Host] = set()  # did not answer lately: asked last, so that one that hangs holds up nobody
        self._masters: list[Node | None] = [None] * _SLOTS
        self._sure = False
        self._looking = asyncio.Lock()

    async def send(self, commands: Sequence[Command]) -> list[Any]:
        if not self._sure:
            await self._look()
        parts: dict[Node, list[int]] = {}  # node -> places among the commands
        for at, command in enumerate(commands):
            parts.setdefault(self._node_of(command), []).append(at)
        answers: list[Any] = [None] * len(commands)
        sent = [node.send([commands[at] for at in places]) for node, places in parts.items()]
        for places, part in zip(parts.values(), await asyncio.gather(*sent), strict=True):
            for at, answer in zip(places, part, strict=True):
                answers[at] = answer
        for at, answer in enumerate(answers):
            if isinstance(answer, errors.AskError):
                answers[at] = await self._follow(answer, commands[at])
        return answers

    async def nodes(self) -> list[Node]:
        if not self._sure:
            await self._look()
        return list(dict.fromkeys(node for node in self._masters if node))

    def doubt(self) -> None:
        self._sure = False

    async def close(self) -> None:
        for node in self._known.values():
            await node.close()

    def _node_of(self, command: Command) -> Node:
        key = key_of(command)
        node = self._masters[slot_of(key)] if key else random.choice(self._masters)  # noqa: S311 (any will do)
        if node is None:
            raise errors.ClusterDownError("Hash slot not served", status_code="CLUSTERDOWN")
        return node

    async def _follow(self, answer: errors.AskError, command: Command) -> Any:
        """Send a command where its key went: MOVED for good, and then the map is old; ASK for this once."""
        node = self._node((answer.host or str(self._node_of(command).place[0]), answer.port))
        if not isinstance(answer, errors.MovedError):
            return (await node.send([("ASKING",), command]))[1]
        self._masters[answer.slot_id], self._sure = node, False
        return (await node.send([command]))[0]

    def _node(self, place: Host) -> Node:
        if place not in self._known:
            self._known[place] = self._meet(place)
        return self._known[place]

    async def _look(self) -> None:
        async with self._looking:
            if self._sure:
                return
            why: Exception = errors.ConnectionError("no node of the cluster answers")
            places = {*self._known, *self._hosts}
            for place in sorted(places, key=lambda place: (place in self._silent, random.random())):  # noqa: S311
                try:
                    ranges = await _ask(self._node(place), "CLUSTER", "SLOTS")
                except (errors.RedisError, OSError) as error:
                    single = "cluster support disabled" in str(error)
                    why = errors.ConnectionError(_SINGLE) if single else error
                    self._silent.add(place)
                else:
                    self._silent.discard(place)
                    return await self._learn(place, ranges)
            raise why

    async def _learn(self, asked: Host, ranges: list[Any]) -> None:
        masters: list[Node | None] = [None] * _SLOTS
        for first, last, master, *_ in ranges:
            node = self._node((master[0] or asked[0], int(master[1])))
            masters[first : last + 1] = [node] * (last - first + 1)
        self._masters, self._sure = masters, True
        self._silent &= {*self._known, *self._hosts}
        gone = self._known.keys() - {node.place for node in masters if node}
        for place in gone:
            await self._known.pop(place).close()


def key_of(command: Command) -> str:
    """The key a command is about: the first one of a script, else the word after the name."""
    at = 3 if command[0] in ("EVALSHA", "EVAL") else 1
    return str(command[at]) if len(command) > at else ""


def slot_of(key: str) -> int:
    """The slot of a cluster that a key lives in."""
    tag = _TAG.match(key)
    return binascii.crc_hqx((tag[1] if tag else key).encode(), 0) % _SLOTS


async def _ask(node: Node, *command: Any) -> Any:
    with Limit(LOOK):
        [answer] = await node.send([command])
    if isinstance(answer, Exception):
        raise answer
    return answer
