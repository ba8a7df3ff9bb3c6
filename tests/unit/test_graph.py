import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model import RESERVED_HOSTS, RESERVED_SITES, RUNS, Lab, Port
from orchestrator.plan import Plan, plan_lab
from orchestrator.render.graph import render_mermaid, render_svg
from tests.unit.labs import POOL, host, lab, site, small_lab

SVG = "{http://www.w3.org/2000/svg}"
DOMAINS: tuple[str, ...] = ("com", "org", "net", "edu", "gov", "mil", "int", "info")
DOMAINS += ("biz", "arpa", "museum", "example", "test", "name", "io")
HOSTILE = [
    "<script>alert('&')</script>",
    ']]>"&amp;--><!--',
    'end"]; click node0 "javascript:alert(1)"',
    'style"x:#34;#quot;`**bold**`',
    "new\nline\rand\ttab",
    "nul\x00bell\x07\ufffe",
    "漢字ながい名前" * 9,
    "W" * 63,
    "",
]


RESERVED = RESERVED_SITES | RESERVED_HOSTS
NAMES = st.text(max_size=80).filter(lambda name: name not in RESERVED)


@dataclass(frozen=True)
class Box:
    """A rectangle of the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def holds(self, other: "Box") -> bool:
        """Tell whether the other is inside, down to the edge."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def meets(self, other: "Box") -> bool:
        """Tell whether the two share any ground."""
        is_beside = self.right <= other.left or other.right <= self.left
        is_below = self.bottom <= other.top or other.bottom <= self.top
        return not (is_beside or is_below)


def big_lab() -> Lab:
    """Make a lab with every kind of host, many zones and published ports."""
    published = (Port(8080, 80), Port(65535, 65535))
    roots = (".", "arpa", "root-servers.net")
    future = [
        host(f"a-{run}", run, image="example/own:1")
        for run in ("smtp", "mailbox", "ftp", "telnet")
    ]
    return lab(
        site(
            "root-servers",
            "root-servers.net",
            1,
            host("a", "dns", zones=roots),
            host("b", "dns", zones=roots),
        ),
        site(
            "registry",
            "registry.net",
            2,
            host("a", "dns", zones=DOMAINS),
            host("c", "dns", zones=DOMAINS),
            host("whois", "container", image="registry.example:5000/who/is:1.2"),
        ),
        site("isp", "isp.net", 3, host("resolver", "resolver"), *future),
        site(
            "campus",
            "campus.edu",
            4,
            host("ns1", "dns", zones=("campus.edu",)),
            host("www", "http", publish=published),
            host("alice-pc", "client", user="alice"),
            *(host(f"pc{number}", "client") for number in range(12)),
        ),
        site("empty", "empty.org", 5),
        name="big",
    )


def long_lab(count: int) -> Lab:
    """Make a lab of many sites, of two sizes."""
    return lab(
        *(
            site(
                f"site{slot}",
                f"site{slot}.example",
                slot,
                *(host(f"pc{number}", "client") for number in range(1 + slot % 4)),
            )
            for slot in range(1, count + 1)
        )
    )


def hostile_lab(name: str) -> Lab:
    """Make a lab in which every text of the author's is ``name``."""
    return lab(
        site(
            name,
            name,
            1,
            host(name, "dns", zones=(name, name), publish=(Port(1, 2),)),
            host(f"{name}-pc", "client", user=name),
            host(f"{name}-own", name, image=name),
        ),
        name=name,
    )


def planned(wanted: Lab) -> Plan:
    """Plan a lab in the usual pool."""
    return plan_lab(wanted, POOL)


def draw(wanted: Lab) -> ElementTree.Element:
    """Draw a lab and parse the picture."""
    return ElementTree.fromstring(render_svg(wanted, planned(wanted)))


def texts(picture: ElementTree.Element) -> list[str]:
    """Return everything that is written in the picture."""
    return [text.text or "" for text in picture.iter(f"{SVG}text")]


def box_of(rectangle: ElementTree.Element) -> Box:
    """Return the place of a ``rect`` element."""
    x, y, width, height = (
        float(rectangle.get(name, "0")) for name in ("x", "y", "width", "height")
    )
    return Box(x, y, x + width, y + height)


def em(character: str) -> float:
    """Estimate how wide a character is, in ems, by three classes."""
    if character > "\u2fff" or character in "WM@":
        return 1.0
    return 0.4 if character in "fijlrt.,:;'|[]() " else 0.6


def place_of(text: ElementTree.Element) -> Box:
    """Estimate the place of a ``text`` element."""
    size, x, y = (float(text.get(name, "0")) for name in ("font-size", "x", "y"))
    is_mono = "mono" in text.get("font-family", "")
    width = sum(0.6 if is_mono else em(one) for one in text.text or "") * size
    left = x - width / 2 if text.get("text-anchor") == "middle" else x
    return Box(left, y - size, left + width, y + size / 4)


def groups(picture: ElementTree.Element) -> Iterator[tuple[Box, list[Box]]]:
    """Yield the box of each group, and the places of the texts that are in it."""
    for group in picture.iter(f"{SVG}g"):
        rectangle = group.find(f"{SVG}rect")
        assert rectangle is not None
        yield (
            box_of(rectangle),
            [place_of(text) for text in group.findall(f"{SVG}text")],
        )


def children(group: ElementTree.Element) -> list[Box]:
    """Return the boxes of the groups that are directly in a group."""
    rectangles = [inner.find(f"{SVG}rect") for inner in group.findall(f"{SVG}g")]
    return [box_of(one) for one in rectangles if one is not None]


def pairs(boxes: list[Box]) -> Iterator[tuple[Box, Box]]:
    """Yield every two of the boxes."""
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            yield box, other


LABS = [
    pytest.param(small_lab(), id="small"),
    pytest.param(big_lab(), id="big"),
    pytest.param(long_lab(2), id="two sites"),
    pytest.param(long_lab(30), id="thirty sites"),
    pytest.param(lab(), id="no site"),
    *(
        pytest.param(hostile_lab(name), id=f"hostile {number}")
        for number, name in enumerate(HOSTILE)
    ),
]


@pytest.mark.parametrize("wanted", LABS)
def test_the_picture_is_well_formed_whatever_the_names_are(wanted: Lab) -> None:
    """A browser shows nothing at all of an SVG with one wrong sign in it."""
    picture = draw(wanted)

    assert picture.tag == f"{SVG}svg"
    assert not list(picture.iter(f"{SVG}script"))


@given(name=NAMES)
@settings(deadline=None, max_examples=25)
def test_no_text_of_the_author_breaks_the_picture(name: str) -> None:
    """Rules for names may widen some day; the picture shall not depend on them."""
    picture = draw(hostile_lab(name))

    assert all(box.holds(place) for box, places in groups(picture) for place in places)


@pytest.mark.parametrize("wanted", LABS)
def test_no_text_leaves_its_box(wanted: Lab) -> None:
    """A name that runs over its border makes the whole picture look broken."""
    picture = draw(wanted)

    for box, places in groups(picture):
        assert [place for place in places if not box.holds(place)] == []


@pytest.mark.parametrize("wanted", LABS)
def test_no_two_lines_of_a_box_overlap(wanted: Lab) -> None:
    """Text upon text cannot be read."""
    picture = draw(wanted)

    for _, places in groups(picture):
        assert not any(one.meets(other) for one, other in pairs(places))


@pytest.mark.parametrize("wanted", LABS)
def test_boxes_stand_apart_and_on_the_paper(wanted: Lab) -> None:
    """Where boxes overlap, one cannot see what belongs to what."""
    picture = draw(wanted)
    paper = picture.find(f"{SVG}rect")
    assert paper is not None

    assert all(box_of(paper).holds(box) for box in children(picture))
    assert all(
        box_of(paper).holds(place_of(text)) for text in picture.iter(f"{SVG}text")
    )
    for group in [picture, *picture.iter(f"{SVG}g")]:
        assert not any(one.meets(other) for one, other in pairs(children(group)))


def test_the_ground_is_white() -> None:
    """On a dark page, dark text on no ground could not be read."""
    paper = draw(small_lab()).find(f"{SVG}rect")

    assert paper is not None
    assert paper.get("fill") == "#ffffff"


@pytest.mark.parametrize("wanted", LABS[:4])
def test_every_network_host_and_address_is_in_the_picture(wanted: Lab) -> None:
    """The picture is what people look addresses up in."""
    plan = planned(wanted)

    written = texts(draw(wanted))

    for one in wanted.hosts():
        assert one.name in written
        assert one.run in written
        assert str(plan.node(one.node).addresses.v4) in written
    for place in wanted.sites:
        network = plan.network(place.name)
        assert {place.name, place.domain, str(network.router4)} <= set(written)
        assert {str(network.subnet4), str(network.subnet6)} <= set(written)


def test_the_backbone_shows_its_subnets_and_each_router_its_address_there() -> None:
    """Who follows a packet from site to site meets these addresses."""
    plan = planned(small_lab())
    backbone = plan.network("backbone")

    written = texts(draw(small_lab()))

    assert f"{backbone.subnet4} · {backbone.subnet6}" in written
    assert {"198.18.0.1", "198.18.0.2", "198.18.0.3"} <= set(written)


def test_a_long_list_of_zones_is_shortened_and_whole_in_the_hint() -> None:
    """A server of fifteen zones must not make a card of the height of a page."""
    wanted = lab(site("tld", "tld.net", 1, host("a", "dns", zones=DOMAINS)))
    picture = draw(wanted)

    written = texts(picture)
    hints = [title.text or "" for title in picture.iter(f"{SVG}title")]

    assert any(text.startswith("zones: com, org, ") for text in written)
    assert any(re.search(r"\+\d more$", text) for text in written)
    assert any(f"zones: {', '.join(DOMAINS)}" in hint for hint in hints)


def test_the_root_zone_is_more_than_a_dot() -> None:
    """A single dot in small print is easily overlooked."""
    wanted = lab(site("root", "root.net", 1, host("a", "dns", zones=(".",))))

    assert "zone: . (root)" in texts(draw(wanted))


def test_users_images_and_published_ports_are_shown() -> None:
    """It is what sets two hosts of the same kind apart."""
    written = texts(draw(big_lab()))

    assert "user: alice" in written
    assert "image: example/own:1" in written
    assert "published: 127.0.0.1:8080 → 80" in written


def test_the_door_is_shown_where_a_port_is_published() -> None:
    """Packets from outside come from the door's address, not from a mystery."""
    plan = planned(big_lab())

    written = texts(draw(big_lab()))

    assert written.count("door") == 2  # its name and its kind
    assert "198.18.4.3" in written
    assert f"from publish: {plan.network('publish').subnet4}" in written
    assert "door" not in texts(draw(small_lab()))


def test_the_legend_explains_the_kinds_that_there_are() -> None:
    """A colour without a meaning is only decoration, one that is absent noise."""
    written = texts(draw(small_lab()))

    assert f"dns: {RUNS['dns']}" in written
    assert "router: joins a site to the backbone" in written
    assert f"container: {RUNS['container']}" not in written


def test_a_reader_of_the_screen_hears_what_is_to_be_seen() -> None:
    """A picture without words is nothing to those who do not see it."""
    picture = draw(small_lab())
    title, about = picture.find(f"{SVG}title"), picture.find(f"{SVG}desc")

    assert title is not None
    assert about is not None
    assert title.text == "Topology of the lab test"
    assert "campus (campus.edu): ns1, www, alice-pc." in (about.text or "")
    assert picture.get("aria-labelledby") == f"{title.get('id')} {about.get('id')}"


@pytest.mark.parametrize("count", [2, 5, 12, 30])
def test_many_sites_wrap_into_rows_of_the_shape_of_a_screen(count: int) -> None:
    """Thirty sites side by side would be a ribbon that nobody can read."""
    picture = draw(long_lab(count))
    width, height = (float(picture.get(name, "0")) for name in ("width", "height"))
    tops = {box.top for box in children(picture)}

    assert 0.7 < width / height < 2.8
    assert len(tops) > (2 if count > 10 else 1)  # the backbone's is one of them


@pytest.mark.parametrize("render", [render_svg, render_mermaid])
def test_the_same_lab_gives_the_same_picture(
    render: Callable[[Lab, Plan], str],
) -> None:
    """A picture in a repository should change only when the lab does."""
    assert render(big_lab(), planned(big_lab())) == render(
        big_lab(), planned(big_lab())
    )


# Mermaid.

NODE = re.compile(r' +(node\d+)(?:\["|\{\{"|\[/")([^"]*)"(?:\]|\}\}|/\])')
LINK = re.compile(r' +(\w+) ---(?:\|"[0-9.]+"\|)? (\w+)')
FORMS = [
    NODE,
    LINK,
    re.compile(r"flowchart LR"),
    re.compile(r" +acc(Title|Descr): [^;]*(#\d+;[^;]*)*"),
    re.compile(r' +network_[a-z]+\(\["[^"]*"\]\)'),
    re.compile(r' +subgraph site\d+\["[^"]*"\]'),
    re.compile(r" +end"),
    re.compile(r" +classDef kind_\w* fill:#\w{6},stroke:#\w{6},color:#\w{6}"),
    re.compile(r" +class node\d+(,node\d+)* kind_\w*"),
]


def write(wanted: Lab) -> list[str]:
    """Write a lab as Mermaid source and split it into lines."""
    return render_mermaid(wanted, planned(wanted)).splitlines()


def labels(wanted: Lab) -> dict[str, str]:
    """Map the ids of the nodes in the source to what is written on them."""
    found = filter(None, map(NODE.fullmatch, write(wanted)))
    return {match[1]: match[2] for match in found}


def links(wanted: Lab) -> list[tuple[str, str]]:
    """List the two ends of every link in the source."""
    found = filter(None, map(LINK.fullmatch, write(wanted)))
    return [(match[1], match[2]) for match in found]


@pytest.mark.parametrize("wanted", LABS)
def test_the_source_has_only_lines_that_mermaid_knows(wanted: Lab) -> None:
    """A quote or a bracket in a name would end the label, and so the diagram."""
    unknown = [
        line
        for line in write(wanted)
        if not any(form.fullmatch(line) for form in FORMS)
    ]

    assert unknown == []


@given(name=NAMES)
@settings(deadline=None, max_examples=25)
def test_no_text_of_the_author_breaks_the_source(name: str) -> None:
    """Mermaid shows an error in place of a diagram, for the smallest of slips."""
    lines = write(hostile_lab(name))

    assert all(any(form.fullmatch(line) for form in FORMS) for line in lines)


@pytest.mark.parametrize("wanted", LABS[:4])
def test_every_node_of_the_plan_is_in_the_source(wanted: Lab) -> None:
    """Whatever runs is part of the topology, routers and doors too."""
    plan = planned(wanted)

    written = list(labels(wanted).values())

    assert len(written) == len(plan.nodes)
    for one in wanted.hosts():
        address = plan.node(one.node).addresses.v4
        assert any(
            text.startswith(f"{one.name}<br/>{one.run}")
            and text.endswith(f"<br/>{address}")
            for text in written
        )
    for place in wanted.sites:
        assert f"router<br/>{plan.network(place.name).router4}" in written


def test_hosts_hang_from_their_router_and_routers_from_the_backbone() -> None:
    """The links are the topology; a host without one would float about."""
    names = {
        name: text.partition("<br/>")[0] for name, text in labels(small_lab()).items()
    }
    found = [(names.get(one, one), names[other]) for one, other in links(small_lab())]

    assert found == [
        ("network_backbone", "router"),
        ("router", "a"),
        ("network_backbone", "router"),
        ("router", "resolver"),
        ("network_backbone", "router"),
        ("router", "ns1"),
        ("router", "www"),
        ("router", "alice-pc"),
    ]


def test_the_door_joins_the_site_and_the_network_of_published_ports() -> None:
    """It is the only way in, and has one foot on each side."""
    names = labels(big_lab())
    door = next(name for name, text in names.items() if text.startswith("door"))

    ends = [one for one, other in links(big_lab()) if other == door]

    assert [names.get(end, end).partition("<br/>")[0] for end in ends] == [
        "router",
        "network_publish",
    ]
    assert any(line.endswith(f"{door} kind_door") for line in write(big_lab()))


def test_both_ends_of_every_link_are_nodes_with_numbers_for_names() -> None:
    """A host may be called ``end`` or ``graph``, which are words of Mermaid's."""
    wanted = lab(site("end", "end.net", 1, host("end", "http"), host("graph", "http")))

    ends = {end for link in links(wanted) for end in link}

    assert ends == {*labels(wanted), "network_backbone"}
    assert all(re.fullmatch(r"node\d+|network_backbone", end) for end in ends)


def test_signs_of_mermaid_are_written_as_numbers() -> None:
    """They are shown as they are, and do nothing."""
    wanted = lab(site("a", "a.net", 1, host('"<b>`#;', "http")))

    assert any(
        text.startswith("#34;#60;b#62;#96;#35;#59;<br/>http")
        for text in labels(wanted).values()
    )
