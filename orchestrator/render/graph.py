"""Draw a lab's topology: as a picture (SVG) and as Mermaid source.

Pure, and the same lab and plan give the same text, to the byte.  The backbone is a bar
on top; sites hang from it by their routers, in as many rows as look well.  Widths of
text are estimated, because a picture without a browser knows no font.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import log
from typing import NamedTuple, TypeVar

from orchestrator.model import BACKBONE, RUNS, Host, Lab, Port, Site
from orchestrator.plan import Attachment, Network, Node, Plan

T = TypeVar("T")


class Kind(NamedTuple):
    """The colours of one kind of node: its ground, its line and its writing."""

    ground: str
    line: str
    ink: str


KINDS = {
    "router": Kind("#475569", "#334155", "#ffffff"),
    "dns": Kind("#eff6ff", "#6b9df0", "#1d4ed8"),
    "resolver": Kind("#ecfdfd", "#3fb0bd", "#0e7490"),
    "http": Kind("#f0fdf4", "#5dbd83", "#15803d"),
    "smtp": Kind("#f5f3ff", "#a18cf0", "#6d28d9"),
    "mailbox": Kind("#fdf2f8", "#e28ab8", "#be185d"),
    "ftp": Kind("#faf5ef", "#bb9a7b", "#7c4f2a"),
    "telnet": Kind("#f7fbe9", "#a5b84b", "#526b0f"),
    "client": Kind("#fffaeb", "#e0b04f", "#92500b"),
    "container": Kind("#f4f4f5", "#a1a1aa", "#52525b"),
    "door": Kind("#fff1f2", "#eb8797", "#be123c"),
}
MEANINGS = {
    **RUNS,
    "door": "lets published ports in",
    "router": "joins a site to the backbone",
}
PAPER, PANEL, EDGE = "#ffffff", "#f8fafc", "#cbd5e1"
INK, GREY, WIRE = "#0f172a", "#475569", "#64748b"
SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"

# All lengths are in pixels.
MARGIN, GAP, PAD = 32, 24, 12
CARD, CARD_GAP, LINE = 236, 10, 16  # a host's card: its width, what is between, a line
HEAD = 100  # of a site, above its first card
BAR, PILL, LINK = 36, 28, 64  # backbone, router, the way from the one to the other
TRUNK = 28  # left of the sites, where there are several rows
NARROWEST = 760
TALLEST = 6  # cards in one column of a site
ZONE_LINES = 2
MOST_ZONES = 3  # in Mermaid, which wraps no list
BAR_TOP = MARGIN + 64
SHAPE = 1.6  # width to height: that of a screen

# Upper estimates of advance widths, in ems, after the widest common fonts.
WIDTHS = (
    ("iljI.,:;'| ·", 0.36),
    ("frt()[]/-!", 0.44),
    ("+=<>#~&^", 0.86),
    ("mwMW@%→…", 1.02),
)
SAFE = re.compile(r"[\w .,:/()+→-]*")  # in a quoted text of Mermaid's
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Font:
    """A size, weight and family that text is set in."""

    size: int
    is_bold: bool = False
    is_mono: bool = False

    def measure(self, text: str) -> int:
        """Estimate the width of ``text`` in pixels, rather too high than too low."""
        ems = sum(map(self._advance, text))
        return round(ems * self.size * (1.14 if self.is_bold else 1) + 0.5)

    def _advance(self, character: str) -> float:
        if character > "\u02ff" and character not in "→…":
            return 1.1  # perhaps ideographs or emoji, which are the widest
        if self.is_mono:
            return 0.61
        wide = 0.8 if character.isupper() else 0.64
        return next((ems for some, ems in WIDTHS if character in some), wide)

    def shorten(self, text: str, width: int) -> str:
        """Cut ``text`` to ``width`` pixels, with an ellipsis where it was longer."""
        if self.measure(text) <= width:
            return text
        while text and self.measure(f"{text}…") > width:
            text = text[:-1]
        return f"{text}…"


TITLE, HEADING = Font(22, is_bold=True), Font(15, is_bold=True)
NAME, BODY, SMALL = Font(13, is_bold=True), Font(13), Font(11)
BADGE = Font(10, is_bold=True)
ADDRESS, SUBNET = Font(12, is_mono=True), Font(11, is_mono=True)


@dataclass(frozen=True)
class Card:
    """What is written on the card of one host or door; ``hint`` is the whole of it."""

    name: str
    run: str
    address: str
    details: tuple[str, ...]
    hint: str

    @property
    def height(self) -> int:
        """The card's least height."""
        return LINE * (2 + len(self.details)) + 2 * PAD - 4


@dataclass(frozen=True)
class Panel:
    """One site: its network, its router and the cards of its hosts."""

    site: Site
    network: Network
    router: Node
    cards: tuple[Card, ...]

    @property
    def columns(self) -> int:
        """The number of cards side by side."""
        return max(1, -(-len(self.cards) // TALLEST))

    @property
    def rows(self) -> list[tuple[Card, ...]]:
        """The cards, row by row."""
        starts = range(0, len(self.cards), self.columns)
        return [self.cards[start : start + self.columns] for start in starts]

    @property
    def width(self) -> int:
        """The panel's width."""
        return self.columns * (CARD + CARD_GAP) - CARD_GAP + 2 * PAD

    @property
    def height(self) -> int:
        """The panel's height."""
        heights = [max(card.height for card in row) + CARD_GAP for row in self.rows]
        return HEAD + sum(heights) + PAD - CARD_GAP


def render_svg(lab: Lab, plan: Plan) -> str:
    """Draw the lab as a standalone SVG document with a white ground."""
    rows = _arrange([_panel(site, plan) for site in lab.sites])
    width = max(NARROWEST, _widest(rows) + 2 * MARGIN)
    *tops, bottom = _tops(rows)
    legend, height = _legend(_kinds(plan), bottom, width)
    parts = [
        *_heading(lab, plan, width),
        *_rows(rows, tops, width),
        _bar(plan.network(BACKBONE), width),
        *legend,
    ]
    return _document(lab, plan, parts, width, height)


def render_mermaid(lab: Lab, plan: Plan) -> str:
    """Write the lab as the source of a Mermaid flowchart."""
    sites = [line for site in lab.sites for line in _subgraph(site, plan)]
    lines = [
        f"accTitle: Topology of the lab {_quote(lab.name)}",
        f"accDescr: {_count(lab)} behind routers on one backbone",
        *_mermaid_networks(plan),
        *sites,
        *_mermaid_links(plan),
        *_mermaid_classes(plan),
    ]
    return "\n".join(["flowchart LR", *(f"    {line}" for line in lines), ""])


# What is said about each node, in both pictures.


def _facts(host: Host) -> list[str]:
    facts = [f"user: {host.user}"] if host.user else []
    facts += [f"image: {host.image}"] if host.image else []
    return facts + [f"published: {_port(port)}" for port in host.publish]


def _port(port: Port) -> str:
    return f"{port.listen}:{port.outside} → {port.inside}"


def _zones(host: Host) -> list[str]:
    return [". (root)" if zone == "." else zone for zone in host.zones]


def _zone_label(zones: Sequence[str]) -> str:
    return "zone:" if len(zones) == 1 else "zones:"


def _kinds(plan: Plan) -> list[str]:
    runs = {node.run for node in plan.nodes}
    return [*(run for run in KINDS if run in runs), *sorted(runs - set(KINDS))]


def _kind(run: str) -> Kind:
    return KINDS.get(run, KINDS["container"])


def _count(lab: Lab) -> str:
    hosts = len(list(lab.hosts()))
    return f"{_number(len(lab.sites), 'site')} and {_number(hosts, 'host')}"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# What stands on which card.


def _panel(site: Site, plan: Plan) -> Panel:
    nodes = [node for node in plan.nodes if node.site == site.name]
    router = next(node for node in nodes if node.run == "router")
    hosts = [_card(host, plan.node(host.node)) for host in site.hosts]
    doors = [_door_card(node, plan) for node in nodes if node.run == "door"]
    return Panel(site, plan.network(site.name), router, (*hosts, *doors))


def _card(host: Host, node: Node) -> Card:
    width = CARD - 2 * PAD - 8
    zones = _zones(host)
    label = _zone_label(zones)
    details = _list(label, zones, width) if zones else []
    details += [line for fact in _facts(host) for line in _set(fact.split(), width)]
    whole = [f"{label} {', '.join(zones)}"] if zones else []
    hint = _hint(node, [*whole, *_facts(host)])
    return Card(host.name, host.run, str(node.addresses.v4), tuple(details), hint)


def _door_card(node: Node, plan: Plan) -> Card:
    details = [
        f"from {foot.network}: {plan.network(foot.network).subnet4}"
        for foot in node.attachments
        if foot.network != node.site
    ]
    hint = _hint(node, [*details, *map(_port, node.ports)])
    return Card("door", "door", str(node.addresses.v4), tuple(details), hint)


def _hint(node: Node, facts: Iterable[str]) -> str:
    run = f"{node.run}: {MEANINGS[node.run]}" if node.run in MEANINGS else node.run
    addresses = (str(node.addresses.v4), str(node.addresses.v6))
    return "\n".join((node.fqdn, run, *addresses, *facts))


def _list(label: str, words: Sequence[str], width: int) -> list[str]:
    """Set a list in `ZONE_LINES` lines, if need be with ``+9 more`` at its end."""
    lines: list[str] = []
    for shown in range(len(words), 0, -1):
        rest = [f"+{len(words) - shown} more"] if shown < len(words) else []
        *first, last = [*words[:shown], *rest]
        lines = _set([label, *(f"{word}," for word in first), last], width)
        if len(lines) <= ZONE_LINES:
            break
    return lines


def _set(words: Iterable[str], width: int) -> list[str]:
    fitting = [SMALL.shorten(word, width) for word in words]
    lines = _wrap(fitting, SMALL.measure, SMALL.measure(" "), width)
    return [" ".join(line) for line in lines]


def _wrap(
    items: Iterable[T], measure: Callable[[T], int], gap: int, width: int
) -> list[list[T]]:
    """Put items into rows of at most ``width``, each row as full as can be."""
    rows: list[list[T]] = []
    used = 0
    for item in items:
        used += gap + measure(item)
        if not rows or used > width:
            rows.append([])
            used = measure(item)
        rows[-1].append(item)
    return rows


# Where everything stands.


def _arrange(panels: Sequence[Panel]) -> list[list[Panel]]:
    """Wrap the sites into those rows that come nearest to the shape of a screen."""
    widths = range(1, sum(panel.columns for panel in panels) + 1)
    unit = CARD + 2 * PAD + GAP
    ways = [_wrap(panels, _panel_width, GAP, unit * count) for count in widths]
    return min(ways, key=_ugliness, default=[])


def _panel_width(panel: Panel) -> int:
    return panel.width


def _row_width(row: Sequence[Panel]) -> int:
    return sum(panel.width + GAP for panel in row) - GAP


def _row_height(row: Sequence[Panel]) -> int:
    return max(panel.height for panel in row)


def _ugliness(rows: Sequence[Sequence[Panel]]) -> float:
    width = max(map(_row_width, rows))
    height = sum(_row_height(row) + LINK for row in rows)
    ragged = 1 - _row_width(rows[-1]) / width
    return abs(log(width / height / SHAPE)) + ragged


def _widest(rows: Sequence[Sequence[Panel]]) -> int:
    trunk = TRUNK if len(rows) > 1 else 0
    return trunk + max(map(_row_width, rows), default=0)


def _tops(rows: Sequence[Sequence[Panel]]) -> list[int]:
    """Return where each row begins, and last where they all end."""
    tops = [BAR_TOP + BAR + LINK]
    for row in rows:
        tops.append(tops[-1] + _row_height(row) + LINK)
    return [*tops[:-1], tops[-1] - LINK if rows else BAR_TOP + BAR]


def _rows(
    rows: Sequence[Sequence[Panel]], tops: Sequence[int], width: int
) -> Iterator[str]:
    left = (width - _widest(rows)) // 2 + (TRUNK if len(rows) > 1 else 0)
    for number, (row, top) in enumerate(zip(rows, tops, strict=True)):
        placed = list(_place(row, left))
        yield from _wires(placed, left, top, is_first=number == 0)
        for x, panel in placed:
            yield _draw_panel(panel, x, top)


def _place(row: Sequence[Panel], left: int) -> Iterator[tuple[int, Panel]]:
    for panel in row:
        yield left, panel
        left += panel.width + GAP


# How everything looks.


def _wires(
    row: Sequence[tuple[int, Panel]], left: int, top: int, *, is_first: bool
) -> Iterator[str]:
    """Draw the way from the backbone to each router of a row, and its address."""
    centres = [x + panel.width // 2 for x, panel in row]
    start = BAR_TOP + BAR if is_first else top - LINK + GAP
    if not is_first:
        trunk = left - TRUNK + PAD
        yield _wire(f"M{trunk} {BAR_TOP + BAR}V{start}H{centres[-1]}")
    for centre, (_, panel) in zip(centres, row, strict=True):
        yield _wire(f"M{centre} {start}V{top}")
        address = _foot(panel.router, BACKBONE).address4
        yield _text(centre + 8, top - PILL // 2 - 6, str(address), SUBNET, GREY)


def _foot(node: Node, network: str) -> Attachment:
    return next(foot for foot in node.attachments if foot.network == network)


def _wire(path: str) -> str:
    return _element("path", d=path, fill="none", stroke=WIRE, stroke_width=2)


def _heading(lab: Lab, plan: Plan, width: int) -> Iterator[str]:
    room = width - 2 * MARGIN
    under = f"{_count(lab)} in {plan.pool} and {plan.prefix6}"
    yield _text(MARGIN, MARGIN + 18, TITLE.shorten(lab.name, room), TITLE, INK)
    yield _text(MARGIN, MARGIN + 42, BODY.shorten(under, room), BODY, GREY)


def _bar(network: Network, width: int) -> str:
    kind, base = KINDS["router"], BAR_TOP + 23
    left = MARGIN + PAD + HEADING.measure(BACKBONE) + GAP
    subnets = f"{network.subnet4} · {network.subnet6}"
    return _group(
        f"The network {BACKBONE}, which joins all sites",
        _box(MARGIN, BAR_TOP, width - 2 * MARGIN, BAR, kind, 8),
        _text(MARGIN + PAD + 4, base, BACKBONE, HEADING, kind.ink),
        _text(left, base, subnets, ADDRESS, kind.ink),
    )


def _draw_panel(panel: Panel, x: int, top: int) -> str:
    site, network = panel.site, panel.network
    room, left = panel.width - 2 * PAD, x + PAD
    return _group(
        f"Site {site.name}: {site.domain}",
        _box(x, top, panel.width, panel.height, Kind(PANEL, EDGE, INK), 10),
        _text(left, top + 38, HEADING.shorten(site.name, room), HEADING, INK),
        _text(left, top + 55, BODY.shorten(site.domain, room), BODY, GREY),
        _text(left, top + 73, str(network.subnet4), SUBNET, GREY),
        _text(left, top + 88, str(network.subnet6), SUBNET, GREY),
        _draw_router(panel, x + panel.width // 2, top),
        *_draw_cards(panel, left, top + HEAD),
    )


def _draw_router(panel: Panel, centre: int, top: int) -> str:
    kind, address = KINDS["router"], str(panel.network.router4)
    widths = NAME.measure("router"), ADDRESS.measure(address)
    width = sum(widths) + 2 * PAD + 8
    left = centre - width // 2
    base = top + 4
    return _group(
        f"{panel.router.fqdn}\n{MEANINGS['router']}\n{address}",
        _box(left, top - PILL // 2, width, PILL, kind, PILL // 2),
        _text(left + PAD, base, "router", NAME, kind.ink),
        _text(left + PAD + 8 + widths[0], base, address, ADDRESS, kind.ink),
    )


def _draw_cards(panel: Panel, left: int, top: int) -> Iterator[str]:
    for row in panel.rows:
        height = max(card.height for card in row)
        for column, card in enumerate(row):
            yield _draw_card(card, left + column * (CARD + CARD_GAP), top, height)
        top += height + CARD_GAP


def _draw_card(card: Card, x: int, top: int, height: int) -> str:
    kind, left = _kind(card.run), x + PAD + 6
    badge = min(BADGE.measure(card.run) + 14, CARD // 2)
    name = NAME.shorten(card.name, CARD - badge - 3 * PAD)
    base = top + PAD + 11
    lines = enumerate(card.details, start=2)
    return _group(
        card.hint,
        _box(x, top, CARD, height, kind, 7),
        _element(
            "rect",
            x=x + 6,
            y=top + 8,
            width=4,
            height=height - 16,
            rx=2,
            fill=kind.line,
        ),
        _text(left, base, name, NAME, INK),
        _badge(card.run, kind, x + CARD - 8 - badge, top + 8, badge),
        _text(left, base + LINE, card.address, ADDRESS, INK),
        *(
            _text(left, base + LINE * number, line, SMALL, GREY)
            for number, line in lines
        ),
    )


def _badge(run: str, kind: Kind, x: int, y: int, width: int) -> str:
    label = BADGE.shorten(run, width - 8)
    return _group(
        "",
        _box(x, y, width, 18, Kind(PAPER, kind.line, kind.ink), 9),
        _text(x + width // 2, y + 13, label, BADGE, kind.ink, "middle"),
    )


def _legend(runs: Sequence[str], top: int, width: int) -> tuple[list[str], int]:
    """Explain the colours in columns; return the height of the whole picture too."""
    labels = [f"{run}: {MEANINGS[run]}" if run in MEANINGS else run for run in runs]
    room = width - 2 * MARGIN
    labels = [SMALL.shorten(label, room - 20) for label in labels]
    column = max(map(SMALL.measure, labels), default=room) + 20 + GAP
    across = max(1, (room + GAP) // column)
    parts = []
    for number, (run, label) in enumerate(zip(runs, labels, strict=True)):
        x = MARGIN + number % across * column
        y = top + MARGIN + number // across * 20
        parts += [_box(x, y, 12, 12, _kind(run), 3)]
        parts += [_text(x + 20, y + 10, label, SMALL, GREY)]
    return parts, top + 2 * MARGIN + -(-len(labels) // across) * 20


def _document(
    lab: Lab, plan: Plan, parts: Iterable[str], width: int, height: int
) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="{SANS}" role="img" '
        'aria-labelledby="graph-title graph-about">'
    )
    lines = [
        head,
        _element("title", f"Topology of the lab {lab.name}", id="graph-title"),
        _element("desc", _describe(lab, plan), id="graph-about"),
        _element("rect", width=width, height=height, fill=PAPER),
        *parts,
        "</svg>",
    ]
    return "\n".join([*lines, ""])


def _describe(lab: Lab, plan: Plan) -> str:
    subnet = plan.network(BACKBONE).subnet4
    sentences = [f"{_count(lab)} behind routers on the backbone {subnet}."]
    for site in lab.sites:
        names = ", ".join(host.name for host in site.hosts) or "no hosts"
        sentences.append(f"{site.name} ({site.domain}): {names}.")
    return " ".join(sentences)


def _group(title: str, *parts: str) -> str:
    heading = [_element("title", title)] if title else []
    return "\n".join(["<g>", *heading, *parts, "</g>"])


def _box(x: int, y: int, width: int, height: int, kind: Kind, corner: int) -> str:
    return _element(
        "rect",
        x=x,
        y=y,
        width=width,
        height=height,
        rx=corner,
        fill=kind.ground,
        stroke=kind.line,
    )


def _text(
    x: int, y: int, text: str, font: Font, fill: str, anchor: str = "start"
) -> str:
    return _element(
        "text",
        text,
        x=x,
        y=y,
        font_size=font.size,
        font_weight=600 if font.is_bold else 400,
        fill=fill,
        text_anchor=anchor,
        **({"font_family": MONO} if font.is_mono else {}),
    )


def _element(tag: str, text: str = "", **attributes: str | int) -> str:
    values = [
        f' {name.replace("_", "-")}="{_escape(str(value))}"'
        for name, value in attributes.items()
    ]
    return f"<{tag}{''.join(values)}>{_escape(text)}</{tag}>"


def _escape(text: str) -> str:
    return escape(NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


# Mermaid.


def _mermaid_networks(plan: Plan) -> Iterator[str]:
    sites = {node.site for node in plan.nodes}
    for network in plan.networks:
        if network.key not in sites:
            label = _label(network.key, network.subnet4, network.subnet6)
            yield f"{_network_id(network.key)}([{label}])"


def _subgraph(site: Site, plan: Plan) -> Iterator[str]:
    network = plan.network(site.name)
    label = _label(site.name, site.domain, network.subnet4, network.subnet6)
    hosts, ids = {host.node: host for host in site.hosts}, _ids(plan)
    yield f"subgraph site{site.slot}[{label}]"
    for node in plan.nodes:
        if node.site == site.name:
            yield f"    {ids[node.key]}{_shape(node, hosts.get(node.key), network)}"
    yield "end"


def _shape(node: Node, host: Host | None, network: Network) -> str:
    if node.run == "router":
        return f"{{{{{_label('router', network.router4)}}}}}"
    if host is None:
        return f"[/{_label(node.run, node.addresses.v4)}/]"
    zones = _zones(host)
    more = [f"+{len(zones) - MOST_ZONES} more"] if len(zones) > MOST_ZONES else []
    names = ", ".join([*zones[:MOST_ZONES], *more])
    facts = [f"{_zone_label(zones)} {names}"] if zones else []
    return f"[{_label(host.name, host.run, *facts, *_facts(host), node.addresses.v4)}]"


def _mermaid_links(plan: Plan) -> Iterator[str]:
    """Join hosts to their router, and routers and doors to the networks outside."""
    ids = _ids(plan)
    for node in plan.nodes:
        router, own = ids[f"router.{node.site}"], ids[node.key]
        if own != router:
            yield f"{router} --- {own}"
        for foot in node.attachments:
            if foot.network != node.site:
                label = f"|{_label(foot.address4)}|" if foot.address4 else ""
                yield f"{_network_id(foot.network)} ---{label} {own}"


def _mermaid_classes(plan: Plan) -> Iterator[str]:
    ids = _ids(plan)
    for run in _kinds(plan):
        kind = _kind(run)
        name = f"kind_{re.sub('[^a-z0-9]', '_', run)}"
        members = ",".join(ids[node.key] for node in plan.nodes if node.run == run)
        yield f"classDef {name} fill:{kind.ground},stroke:{kind.line},color:{kind.ink}"
        yield f"class {members} {name}"


def _ids(plan: Plan) -> dict[str, str]:
    # Numbers, since a name could be a word of Mermaid's, such as "end".
    return {node.key: f"node{number}" for number, node in enumerate(plan.nodes)}


def _network_id(key: str) -> str:
    return f"network_{key}"


def _label(*lines: object) -> str:
    quoted = [_quote(str(line)) for line in lines if line is not None]
    return f'"{"<br/>".join(quoted)}"'


def _quote(text: str) -> str:
    """Write signs that mean something to Mermaid or Markdown as their numbers.

    The colon is a special case: Mermaid takes the last semicolon from a line with
    ``style``, a colon and then a number sign, so no text has both signs.
    """
    if SAFE.fullmatch(text):
        return text
    return re.sub(r"[^\w .]", _entity, NOT_XML.sub("", text))


def _entity(found: re.Match[str]) -> str:
    return f"#{ord(found[0])};"
