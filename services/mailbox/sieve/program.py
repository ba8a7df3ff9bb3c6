"""Make a script runnable: check it as a whole, then run it on messages.

Extensions: fileinto, reject and ereject (RFC 5429), envelope, copy (RFC 3894), mailbox
(RFC 5490), imap4flags (RFC 5232, without variables), subaddress (RFC 5233).
"""

from collections.abc import Callable, Sequence
from typing import Any

from services.mailbox.sieve.matching import CASEMAP, KINDS, OCTET, make_match
from services.mailbox.sieve.message import Message, part_of
from services.mailbox.sieve.outcome import Outcome
from services.mailbox.sieve.parser import Node, SieveError, parse

EXTENSIONS = frozenset(
    {
        "fileinto",
        "reject",
        "ereject",
        "envelope",
        "copy",
        "mailbox",
        "imap4flags",
        "subaddress",
        f"comparator-{OCTET}",
        f"comparator-{CASEMAP}",
    }
)
MOST_REDIRECTS = 4
PARTS = (":all", ":localpart", ":domain", ":user", ":detail")
NEEDS = {  # what has to be required for a command, test or tag
    "fileinto": "fileinto",
    "reject": "reject",
    "ereject": "ereject",
    "envelope": "envelope",
    "setflag": "imap4flags",
    "addflag": "imap4flags",
    "removeflag": "imap4flags",
    ":copy": "copy",
    ":create": "mailbox",
    ":flags": "imap4flags",
    ":user": "subaddress",
    ":detail": "subaddress",
}
Test = Callable[[Message], bool]


Action = Callable[[Message, Outcome], None]


class Program:
    """A checked script."""

    def __init__(self, script: str) -> None:
        self._run = _Compiler().compile_block(parse(script), is_top=True)

    def run(self, message: Message) -> Outcome:
        """Return what is to be done with a message."""
        outcome = Outcome()
        self._run(message, outcome)
        return outcome.finish()


class _Arguments:
    """The arguments of one command or test, sorted into tags and others."""

    def __init__(self, node: Node, tags: dict[str, str], wanted: Sequence[str]) -> None:
        self.tags: dict[str, Any] = {}
        self.others: list[Any] = []
        rest = list(node.arguments)
        while rest:
            kind, value = rest.pop(0)
            if kind != "tag":
                self._take_other(node, wanted, kind, value)
            elif value not in tags:
                raise SieveError(node.line, f"{node.name} takes no {value}")
            else:
                self.tags[value] = self._take_value(node, value, tags[value], rest)
        if len(self.others) != len(wanted):
            raise SieveError(node.line, f"{node.name} needs {len(wanted)} arguments")

    def _take_other(
        self, node: Node, wanted: Sequence[str], kind: str, value: Any
    ) -> None:
        place = len(self.others)
        if place >= len(wanted):
            raise SieveError(node.line, f"{node.name} takes less arguments")
        self.others.append(_convert(node, wanted[place], kind, value))

    def _take_value(
        self, node: Node, tag: str, kind: str, rest: list[tuple[str, Any]]
    ) -> Any:
        if not kind:
            return True
        if not rest:
            raise SieveError(node.line, f"{tag} needs something behind it")
        return _convert(node, kind, *rest.pop(0))

    def choose(self, node: Node, among: Sequence[str]) -> str:
        """Return the one tag of several that is there; the first by default."""
        found = [tag for tag in among if tag in self.tags]
        if len(found) > 1:
            raise SieveError(node.line, f"{found[0]} and {found[1]} exclude each other")
        return found[0] if found else among[0]


def _convert(node: Node, wanted: str, kind: str, value: Any) -> Any:
    if wanted == "string" and kind == "strings" and len(value) == 1:
        return value[0]
    if wanted == kind:
        return value
    raise SieveError(node.line, f"{node.name}: expected a {wanted.rstrip('s')}")


class _Compiler:
    """Turns nodes into functions."""

    def __init__(self) -> None:
        self._required: set[str] = set()
        self._redirects = 0

    def compile_block(self, nodes: Sequence[Node], *, is_top: bool = False) -> Action:
        """Return what runs commands one after another."""
        actions: list[Action] = []
        for node in nodes:
            if node.name == "require":
                self._require(node, may=is_top and not actions)
            elif node.name in ("if", "elsif", "else"):
                self._add_branch(actions, node)
            else:
                actions.append(self._compile_action(node))

        def run(message: Message, outcome: Outcome) -> None:
            for action in actions:
                if outcome.is_stopped:
                    return
                action(message, outcome)

        return run

    def _require(self, node: Node, *, may: bool) -> None:
        if not may:
            raise SieveError(node.line, "require stands at the beginning")
        (names,) = self._sort(node, {}, ["strings"]).others
        for name in names:
            if name not in EXTENSIONS:
                known = ", ".join(sorted(EXTENSIONS))
                raise SieveError(node.line, f"no extension {name!r}; known: {known}")
            self._required.add(name)

    def _sort(
        self, node: Node, tags: dict[str, str], wanted: Sequence[str]
    ) -> _Arguments:
        arguments = _Arguments(node, tags, wanted)
        for name in (node.name, *arguments.tags):
            needed = NEEDS.get(name)
            if needed is not None and needed not in self._required:
                raise SieveError(node.line, f'{name} needs require "{needed}"')
        return arguments

    # Commands

    def _add_branch(self, actions: list[Action], node: Node) -> None:
        """Add ``if``, or join ``elsif`` and ``else`` to the one before (3.1)."""
        if node.block is None or node.arguments:
            raise SieveError(node.line, f"{node.name} needs a block")
        test = _always if node.name == "else" else self._compile_only_test(node)
        if node.name == "else" and node.tests:
            raise SieveError(node.line, "else takes no test")
        branch = test, self.compile_block(node.block)
        if node.name == "if":
            actions.append(_Choice([branch]))
            return
        before = actions[-1] if actions else None
        if not isinstance(before, _Choice) or before.branches[-1][0] is _always:
            raise SieveError(node.line, f"{node.name} without an if before it")
        before.branches.append(branch)

    def _compile_action(self, node: Node) -> Action:
        compile_it = ACTIONS.get(node.name)
        if compile_it is None:
            raise SieveError(node.line, f"no command {node.name!r}")
        if node.block is not None or node.tests:
            raise SieveError(node.line, f"{node.name} takes no test and no block")
        return compile_it(self, node)

    def _keep(self, node: Node) -> Action:
        flags = _flags(self._sort(node, {":flags": "strings"}, []))

        def keep(message: Message, outcome: Outcome) -> None:
            outcome.filed["INBOX"] = outcome.flags if flags is None else flags
            outcome.keeps = False

        return keep

    def _fileinto(self, node: Node) -> Action:
        tags = {":copy": "", ":create": "", ":flags": "strings"}
        arguments = self._sort(node, tags, ["string"])
        (name,) = arguments.others
        flags, copies = _flags(arguments), ":copy" in arguments.tags

        def file_into(message: Message, outcome: Outcome) -> None:
            outcome.filed[name] = outcome.flags if flags is None else flags
            outcome.keeps = outcome.keeps and copies

        return file_into

    def _redirect(self, node: Node) -> Action:
        arguments = self._sort(node, {":copy": ""}, ["string"])
        (address,) = arguments.others
        copies = ":copy" in arguments.tags
        self._redirects += 1
        if self._redirects > MOST_REDIRECTS:
            raise SieveError(node.line, f"more than {MOST_REDIRECTS} redirects")
        local, _, domain = address.rpartition("@")
        if not local or not domain or set(address) & set('<> "\r\n\t\0'):
            raise SieveError(node.line, f"{address!r} is no address")

        def redirect(message: Message, outcome: Outcome) -> None:
            if address not in outcome.redirects:
                outcome.redirects.append(address)
            outcome.keeps = outcome.keeps and copies

        return redirect

    def _reject(self, node: Node) -> Action:
        (reason,) = self._sort(node, {}, ["string"]).others

        def reject(message: Message, outcome: Outcome) -> None:
            outcome.refusal = reason
            outcome.keeps = False

        return reject

    def _discard(self, node: Node) -> Action:
        self._sort(node, {}, [])

        def discard(message: Message, outcome: Outcome) -> None:
            outcome.keeps = False

        return discard

    def _stop(self, node: Node) -> Action:
        self._sort(node, {}, [])

        def stop(message: Message, outcome: Outcome) -> None:
            outcome.is_stopped = True

        return stop

    def _change_flags(self, node: Node) -> Action:
        (words,) = self._sort(node, {}, ["strings"]).others
        flags = _split_flags(words)

        def change(message: Message, outcome: Outcome) -> None:
            outcome.flags = {
                "setflag": flags,
                "addflag": outcome.flags | flags,
                "removeflag": outcome.flags - flags,
            }[node.name]

        return change

    # Tests

    def _compile_only_test(self, node: Node) -> Test:
        if len(node.tests) != 1:
            raise SieveError(node.line, f"{node.name} needs one test")
        return self._compile_test(node.tests[0])

    def _compile_test(self, node: Node) -> Test:
        compile_it = TESTS.get(node.name)
        if compile_it is None:
            raise SieveError(node.line, f"no test {node.name!r}")
        if node.tests and node.name not in ("not", "allof", "anyof"):
            raise SieveError(node.line, f"{node.name} takes no tests")
        return compile_it(self, node)

    def _not(self, node: Node) -> Test:
        self._sort(node, {}, [])
        test = self._compile_only_test(node)
        return lambda message: not test(message)

    def _several(self, node: Node) -> Test:
        self._sort(node, {}, [])
        if not node.tests:
            raise SieveError(node.line, f"{node.name} needs tests")
        tests = [self._compile_test(one) for one in node.tests]
        judge = all if node.name == "allof" else any
        return lambda message: judge(test(message) for test in tests)

    def _constant(self, node: Node) -> Test:
        self._sort(node, {}, [])
        is_true = node.name == "true"
        return lambda message: is_true

    def _exists(self, node: Node) -> Test:
        (names,) = self._sort(node, {}, ["strings"]).others
        return lambda message: all(map(message.has, names))

    def _size(self, node: Node) -> Test:
        arguments = self._sort(node, {":over": "", ":under": ""}, ["number"])
        (size,) = arguments.others
        if len(arguments.tags) != 1:
            raise SieveError(node.line, "size needs :over or :under")
        if ":over" in arguments.tags:
            return lambda message: message.size > size
        return lambda message: message.size < size

    def _compare(self, node: Node) -> Test:
        """Compile header, address and envelope: values against keys."""
        tags = {":comparator": "string"} | dict.fromkeys(KINDS, "")
        if node.name != "header":
            tags |= dict.fromkeys(PARTS, "")
        arguments = self._sort(node, tags, ["strings", "strings"])
        names, keys = arguments.others
        kind = arguments.choose(node, list(KINDS))
        part = arguments.choose(node, PARTS)
        comparator = arguments.tags.get(":comparator", CASEMAP)
        try:
            match = make_match(kind, comparator)
        except KeyError as error:
            raise SieveError(node.line, f"no comparator {comparator!r}") from error
        values = VALUES[node.name]

        def compare(message: Message) -> bool:
            found = [part_of(one, part) for one in values(message, names)]
            return any(match(value, key) for value in found for key in keys)

        return compare


class _Choice:
    """An ``if`` with all that follows it: the first branch whose test is true runs."""

    def __init__(self, branches: list[tuple[Test, Action]]) -> None:
        self.branches = branches

    def __call__(self, message: Message, outcome: Outcome) -> None:
        for test, block in self.branches:
            if test(message):
                block(message, outcome)
                return


def _always(message: Message) -> bool:
    return True


def _flags(arguments: _Arguments) -> frozenset[str] | None:
    words = arguments.tags.get(":flags")
    return None if words is None else _split_flags(words)


def _split_flags(words: Sequence[str]) -> frozenset[str]:
    return frozenset(flag for word in words for flag in word.split())


ACTIONS: dict[str, Callable[[_Compiler, Node], Action]] = {
    "keep": _Compiler._keep,
    "fileinto": _Compiler._fileinto,
    "redirect": _Compiler._redirect,
    "reject": _Compiler._reject,
    "ereject": _Compiler._reject,
    "discard": _Compiler._discard,
    "stop": _Compiler._stop,
    "setflag": _Compiler._change_flags,
    "addflag": _Compiler._change_flags,
    "removeflag": _Compiler._change_flags,
}
TESTS: dict[str, Callable[[_Compiler, Node], Test]] = {
    "not": _Compiler._not,
    "allof": _Compiler._several,
    "anyof": _Compiler._several,
    "true": _Compiler._constant,
    "false": _Compiler._constant,
    "exists": _Compiler._exists,
    "size": _Compiler._size,
    "header": _Compiler._compare,
    "address": _Compiler._compare,
    "envelope": _Compiler._compare,
}
VALUES: dict[str, Callable[[Message, Sequence[str]], list[str]]] = {
    "header": Message.values,
    "address": Message.addresses,
    "envelope": Message.envelope,
}
