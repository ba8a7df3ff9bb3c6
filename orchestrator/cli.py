"""The command ``lab``: arguments, printing and exit codes, and nothing else.

Exit codes: 0 done, 1 failed, 2 the user's file or arguments.
"""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator.errors import LabError, UsageError

if TYPE_CHECKING:
    from orchestrator.control import Control
    from orchestrator.servers import Reply

# What follows a node's name belongs to the command that is run there.
INNER = {"ignore_unknown_options": True, "allow_interspersed_args": False}
HOME = ".lab"
INTERRUPTED = 130  # as shells have it: 128 and the number of the signal
NAME = re.compile("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Command(click.Command):
    """A command whose mistakes are one line each, with the right exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; turn what a person can mend into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except UsageError as error:
            _fail(error, 2)
        except LabError as error:
            _fail(error, 1)
        except BrokenPipeError:
            sys.exit(1)
        except OSError as error:
            _fail(LabError(_explain(error)), 1)
        except KeyboardInterrupt:
            if self.name not in ("up", "down"):
                sys.exit(INTERRUPTED)
            _fail(LabError("interrupted; `lab up` or `lab down` goes on from here"), 1)


class Group(click.Group):
    """The commands, in the order in which one needs them."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the commands as they are defined here."""
        return list(self.commands)


def _explain(error: OSError) -> str:
    """Say in one line what this computer or its engine refused."""
    about = f"{error.filename}: " if error.filename else ""
    return f"{about}{error.strerror or error}".replace("\n", " ")


def _fail(error: LabError, code: int) -> NoReturn:
    click.echo(str(error), err=True)
    sys.exit(code)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("lab.yaml"),
    show_default=True,
    help="The lab's file.",
)
@click.option(
    "-n",
    "--name",
    envvar="NETARIUM_NAME",
    help="The lab's name, instead of its file's (or NETARIUM_NAME).",
)
@click.version_option(package_name="netarium", prog_name="lab")
@click.pass_context
def main(ctx: click.Context, file: Path, name: str | None) -> None:
    """Launch a whole internet on this machine, look at it, and take it down.

    Example: lab up && lab ssh alice-pc
    """
    from orchestrator.control import Control

    ctx.obj = Control(file, _lab_name(name), _home(file))


def _home(file: Path) -> Path:
    """Find the folder of keys: one that is there around the file, else a new one.

    So a lab is the same from wherever it is called.  A new one is made where the
    user stands if the file is below, else beside the file.
    """
    if named := os.environ.get("NETARIUM_HOME"):
        return Path(named)
    here, folder = Path.cwd(), file.absolute().parent
    if not file.exists():
        return here / HOME
    for around in (folder, *folder.parents):
        if (around / HOME).is_dir():
            return around / HOME
    return (here if folder.is_relative_to(here) else folder) / HOME


def _lab_name(name: str | None) -> str | None:
    """Check a name that comes from the command line as the file's is checked."""
    if name is not None and not NAME.fullmatch(name):
        text = f"-n {name}: a lab's name is letters a to z, digits and hyphens"
        _fail(UsageError(f"{text}, such as my-lab"), 2)
    return name


def _complete_node(ctx: click.Context, param: Any, incomplete: str) -> list[str]:
    """Offer the names of nodes; offer nothing where there is no engine."""
    top = ctx.find_root()
    from orchestrator.control import Control

    file = top.params.get("file") or Path("lab.yaml")
    control = Control(file, top.params.get("name"), _home(file))
    try:
        names = control.node_names()
    except LabError:
        return []
    return [name for name in names if name.startswith(incomplete)]


node_argument = click.argument("node", shell_complete=_complete_node)


# Launching


@main.command()
@click.pass_obj
def up(control: "Control") -> None:
    """Make the lab as its file says, and wait until every node is ready.

    Whatever is there already and right stays untouched.

    Example: lab -f labs/minimal.yaml up
    """
    started = time.monotonic()
    with _progress() as progress:
        outcome = control.up(progress.step, progress.count)
    for change in outcome.changes:
        if change.verb not in ("create",):
            click.echo(change)
    seconds = time.monotonic() - started
    if not outcome.changes:
        click.echo(
            f"{outcome.lab}: {outcome.nodes} nodes, nothing to do ({seconds:.1f} s)"
        )
        return
    click.echo(f"{outcome.lab}: {outcome.nodes} nodes ready ({seconds:.1f} s)")
    click.echo()
    click.echo(outcome.tour)


@main.command()
@click.option("--volumes", is_flag=True, help="Remove homes, zones and mail too.")
@click.pass_obj
def down(control: "Control", *, volumes: bool) -> None:
    """Remove the lab's nodes and networks, also after a crash.

    Example: lab down --volumes
    """
    started = time.monotonic()
    with _progress() as progress:
        gone = control.down(progress.count, volumes=volumes)
    seconds = time.monotonic() - started
    click.echo(
        f"{gone.lab}: {gone.nodes} nodes, {gone.networks} networks removed "
        f"({seconds:.1f} s)"
    )
    if gone.volumes_kept:
        click.echo(
            f"kept {gone.volumes_kept} volumes (homes, zones, mail); "
            "`lab down --volumes` removes them"
        )


@main.command()
@click.pass_obj
def plan(control: "Control") -> None:
    """Print what `lab up` would do, without doing it.

    Example: lab plan
    """
    changes = control.plan()
    for change in changes:
        click.echo(change)
    if not changes:
        click.echo("nothing to do")


@main.command()
@node_argument
@click.pass_obj
def restart(control: "Control", node: str) -> None:
    """Start a node's program anew and wait until it is ready.

    Example: lab restart ns1.campus
    """
    click.echo(f"{control.restart(node)} is ready")


# Looking


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(control: "Control", *, as_json: bool) -> None:
    """Show every node, its addresses, and whether it answers.

    Exits with 1 if the lab is not up or something in it does not answer.

    Example: lab status --json
    """
    found = control.status()
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2))
    else:
        _print_status(found)
    sys.exit(0 if found.is_well else 1)


def _print_status(found: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("node", "name", "runs", "IPv4", "IPv6", "state"):
        table.add_column(title, no_wrap=title != "state", overflow="fold")
    for row in found.rows:
        style = None if row.is_well else "bold red"
        table.add_row(*row.cells(), style=style)
    # A width of its own where no terminal tells one: nothing is cut in a pipe.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    console.print(table)
    for line in found.remarks:
        click.echo(line)


@main.command(context_settings=INNER)
@node_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def ssh(control: "Control", node: str, command: Sequence[str]) -> None:
    """Log in to a client, or run a command there.

    Example: lab ssh alice-pc
    """
    _become(control.ssh_command(node, _inner(command)))


@main.command("exec", context_settings=INNER)
@click.option("-u", "--user", help="Whom to be there, such as root.")
@node_argument
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(
    control: "Control", node: str, command: Sequence[str], user: str | None
) -> None:
    """Run a command inside a node.

    Example: lab exec alice-pc -- dig +trace www.bookshop.com
    """
    is_terminal = bool(sys.stdin) and sys.stdin.isatty() and sys.stdout.isatty()
    words = _inner(command)
    _become(control.exec_command(node, words, user, is_terminal=is_terminal))


@main.command()
@click.argument("source")
@click.argument("target")
@click.pass_obj
def cp(control: "Control", source: str, target: str) -> None:
    """Copy a file into a node or out of it; NODE:PATH names one in a node.

    Example: lab cp alice-pc:/tmp/trace.pcap .
    """
    _become(control.cp_command(source, target))


@main.command()
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come.")
@click.option("--tail", type=int, default=None, help="Only so many last lines.")
@click.argument("nodes", nargs=-1, shell_complete=_complete_node)
@click.pass_obj
def logs(
    control: "Control", nodes: Sequence[str], tail: int | None, *, follow: bool
) -> None:
    """Print what nodes have logged; of all nodes where none is named.

    Example: lab logs -f resolver
    """
    for line in control.logs(nodes, tail=tail, follow=follow):
        click.echo(line)


@main.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(["svg", "mermaid"]),
    default="svg",
    show_default=True,
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file, else the screen."
)
@click.pass_obj
def graph(control: "Control", kind: str, output: Path | None) -> None:
    """Draw the topology.

    Example: lab graph -o lab.svg
    """
    _write(control.graph(kind), output)


# Name servers


@main.group(cls=Group)
def dns() -> None:
    """Look into name servers and resolvers, and tell them what to do."""


def _complete_zone(ctx: click.Context, param: Any, incomplete: str) -> list[str]:
    """Offer the names of zones."""
    top = ctx.find_root()
    from orchestrator.control import Control

    file = top.params.get("file") or Path("lab.yaml")
    names = Control(file, top.params.get("name"), _home(file)).zone_names()
    return [name for name in names if name.startswith(incomplete)]


def _complete_either(ctx: click.Context, param: Any, incomplete: str) -> list[str]:
    """Offer the names of zones and of nodes."""
    zones = _complete_zone(ctx, param, incomplete)
    return [*zones, *_complete_node(ctx, param, incomplete)]


zone_argument = click.argument("zone", shell_complete=_complete_zone)
either_argument = click.argument(
    "target", metavar="[ZONE|NODE]", required=False, shell_complete=_complete_either
)


def _print_replies(replies: "Sequence[Reply]") -> NoReturn:
    """Print what nodes said, of several each with its name; end as the worst did."""
    width = max((len(reply.node) for reply in replies), default=0)
    for reply in replies:
        for line in reply.lines:
            shown = f"{reply.node:{width}} {line}" if len(replies) > 1 else line
            click.echo(shown, err=bool(reply.code))
    sys.exit(max((reply.code for reply in replies), default=0))


@dns.command("status")
@either_argument
@click.pass_obj
def dns_status(control: "Control", target: str | None) -> None:
    """Show a zone at each of its servers, or what a node serves; else all nodes.

    Example: lab dns status campus.edu
    """
    _print_replies(control.dns_status(target))


@dns.command()
@either_argument
@click.pass_obj
def reload(control: "Control", target: str | None) -> None:
    """Read zone files anew; what is served goes on until the new one is whole.

    Example: lab dns reload ns1.campus
    """
    _print_replies(control.dns_reload(target))


@dns.command()
@zone_argument
@click.pass_obj
def transfer(control: "Control", zone: str) -> None:
    """Let a zone's secondaries fetch it now.

    Example: lab dns transfer root-servers.net
    """
    _print_replies(control.tell_secondaries("transfer", zone))


@dns.command()
@zone_argument
@click.pass_obj
def notify(control: "Control", zone: str) -> None:
    """Let a zone's primary tell the secondaries that there is something new.

    Example: lab dns notify root-servers.net
    """
    _print_replies(control.tell_primary("notify", zone))


@dns.command()
@zone_argument
@click.argument("key", type=click.Choice(["zsk", "ksk"]), default="zsk")
@click.pass_obj
def roll(control: "Control", zone: str, key: str) -> None:
    """Begin to replace a zone's key: the one for its data, or the one for its keys.

    Example: lab dns roll campus.edu ksk
    """
    _print_replies(control.tell_primary("roll", zone, key))


@dns.command()
@zone_argument
@click.option("--at", help="The node to ask, such as a secondary, not the primary.")
@click.pass_obj
def dump(control: "Control", zone: str, at: str | None) -> None:
    """Print a zone as it is served now, signatures included, as a master file.

    Example: lab dns dump campus.edu
    """
    if at is None:
        _print_replies(control.tell_primary("dump", zone))
    _print_replies(control.tell_node(at, ["dump", zone], "dns"))


@dns.command()
@node_argument
@click.pass_obj
def stats(control: "Control", node: str) -> None:
    """Print a node's counters.

    Example: lab dns stats resolver
    """
    _print_replies(control.tell_node(node, ["stats"], "dns", "resolver"))


@dns.command(context_settings=INNER)
@node_argument
@click.argument("action", type=click.Choice(["show", "lookup", "flush"]))
@click.argument("words", nargs=-1, metavar="[--tree] [NAME] [TYPE]")
@click.pass_obj
def cache(control: "Control", node: str, action: str, words: Sequence[str]) -> None:
    """Show what a resolver remembers, look a name up there, or let it forget.

    Without a name it is all; with --tree also what lies beneath the name.

    Example: lab dns cache resolver flush --tree bookshop.com
    """
    told = ["cache", action, *words]
    _print_replies(control.tell_node(node, told, "resolver"))


@dns.command()
@node_argument
@click.argument("action", type=click.Choice(["list", "add", "remove"]))
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.pass_obj
def trust(control: "Control", node: str, action: str, names: Sequence[str]) -> None:
    """List, add or remove names below which a resolver checks no signature.

    They are negative trust anchors (RFC 7646).

    Example: lab dns trust resolver add bookshop.com
    """
    told = ["trust", action, *names]
    _print_replies(control.tell_node(node, told, "resolver"))


@dns.command()
@node_argument
@click.argument("switch", type=click.Choice(["on", "off"]))
@click.pass_obj
def trace(control: "Control", node: str, switch: str) -> None:
    """Let a resolver log each step of every resolution, or no longer.

    Example: lab dns trace resolver on
    """
    _print_replies(control.tell_node(node, ["trace", switch], "resolver"))


# Mail


@main.group(cls=Group)
def mail() -> None:
    """Look into mail servers and mailboxes, and tell them what to do."""


any_node_argument = click.argument(
    "node", required=False, shell_complete=_complete_node
)
message_argument = click.argument("message", metavar="ID")


@mail.command()
@any_node_argument
@click.pass_obj
def queue(control: "Control", node: str | None) -> None:
    """List the messages that wait at a mail server, or at all of them.

    Example: lab mail queue mx.campus
    """
    _print_replies(control.tell_all(node, ["queue", "list"], "smtp"))


@mail.command()
@any_node_argument
@click.option("--to", "domain", help="Only what is for this domain.")
@click.pass_obj
def flush(control: "Control", node: str | None, domain: str | None) -> None:
    """Try now to deliver what waits, at one mail server or at all of them.

    Example: lab mail flush mx.campus --to bookshop.com
    """
    words = ["queue", "flush", *([domain] if domain else [])]
    _print_replies(control.tell_all(node, words, "smtp"))


@mail.command()
@node_argument
@message_argument
@click.pass_obj
def show(control: "Control", node: str, message: str) -> None:
    """Print a message that waits, with its envelope and what has been tried.

    Example: lab mail show mx.campus 3F2A9C01
    """
    _print_replies(control.tell_node(node, ["queue", "show", message], "smtp"))


@mail.command()
@node_argument
@message_argument
@click.pass_obj
def hold(control: "Control", node: str, message: str) -> None:
    """Keep a message from being delivered until it is released.

    Example: lab mail hold mx.campus 3F2A9C01
    """
    _print_replies(control.tell_node(node, ["queue", "hold", message], "smtp"))


@mail.command()
@node_argument
@message_argument
@click.pass_obj
def release(control: "Control", node: str, message: str) -> None:
    """Deliver a message that was held.

    Example: lab mail release mx.campus 3F2A9C01
    """
    _print_replies(control.tell_node(node, ["queue", "release", message], "smtp"))


@mail.command()
@node_argument
@message_argument
@click.pass_obj
def delete(control: "Control", node: str, message: str) -> None:
    """Throw a message away; nobody is told.

    Example: lab mail delete mx.campus 3F2A9C01
    """
    _print_replies(control.tell_node(node, ["queue", "delete", message], "smtp"))


@mail.command("list")
@any_node_argument
@click.pass_obj
def list_mailboxes(control: "Control", node: str | None) -> None:
    """List the mailboxes of a server, or of all of them.

    Example: lab mail list mail.campus
    """
    _print_replies(control.tell_all(node, ["list"], "mailbox"))


@mail.command("status")
@node_argument
@click.argument("user")
@click.pass_obj
def mailbox_status(control: "Control", node: str, user: str) -> None:
    """Show one user's folders: how many messages they hold, and how many are unseen.

    Example: lab mail status mail.campus alice
    """
    _print_replies(control.tell_node(node, ["status", user], "mailbox"))


@mail.command()
@any_node_argument
@click.pass_obj
def quota(control: "Control", node: str | None) -> None:
    """Show how much room mailboxes take, and how much they may.

    Example: lab mail quota
    """
    _print_replies(control.tell_all(node, ["quota"], "mailbox"))


@mail.command("stats")
@node_argument
@click.pass_obj
def mail_stats(control: "Control", node: str) -> None:
    """Print a node's counters.

    Example: lab mail stats mx.campus
    """
    _print_replies(control.tell_node(node, ["stats"], "smtp", "mailbox"))


# The file


@main.command()
@click.pass_obj
def validate(control: "Control") -> None:
    """Check the lab's file and say what is in it; list every mistake.

    Example: lab -f my.yaml validate
    """
    click.echo(control.validate())


@main.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file, else the screen."
)
@click.pass_obj
def compose(control: "Control", output: Path | None) -> None:
    """Write the lab as a docker-compose.yml.

    Example: lab compose -o docker-compose.yml
    """
    _write(control.compose(), output)


@main.command()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="A file, else the screen."
)
def schema(output: Path | None) -> None:
    """Write the JSON Schema of lab files, for editors.

    Example: lab schema -o docs/lab.schema.json
    """
    from orchestrator.schema import lab_schema

    _write(json.dumps(lab_schema(), indent=2) + "\n", output)


# The machine


@main.command()
@click.pass_obj
def doctor(control: "Control") -> None:
    """Check the engine, the kernel, images, addresses and leftovers.

    Exits with 1 if something would keep a lab from working; each line names the
    cause and the cure.

    Example: lab doctor
    """
    is_well = True
    for finding in control.doctor():
        click.echo(finding)
        is_well = is_well and finding.is_well
    sys.exit(0 if is_well else 1)


@main.group(cls=Group)
def images() -> None:
    """Build the images, or carry them to a machine without a network."""


@images.command("build")
@click.pass_obj
def build_images(control: "Control") -> None:
    """Build what is missing; `lab up` does so by itself.

    Example: lab images build
    """
    with _progress() as progress:
        tags = control.build_images(progress.step)
    for tag in tags:
        click.echo(tag)


@images.command("save")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def save_images(control: "Control", file: Path) -> None:
    """Write all images into one file.

    Example: lab images save netarium-images.tar.gz
    """
    with _progress() as progress:
        control.save_images(file, progress.step)
    click.echo(f"{file}: {file.stat().st_size / 1e6:.0f} MB")


@images.command("load")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.pass_obj
def load_images(control: "Control", file: Path) -> None:
    """Bring in the images of a file that `lab images save` wrote.

    Example: lab images load netarium-images.tar.gz
    """
    with _progress() as progress:
        tags = control.load_images(file, progress.step)
    for tag in tags:
        click.echo(tag)


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete the commands and names of `lab`.

    Example: lab completion bash > ~/.local/share/bash-completion/completions/lab
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "lab", "_LAB_COMPLETE").source())


@main.command(hidden=True)
@click.option("--into", type=click.Path(path_type=Path), required=True)
@click.pass_obj
def init(control: "Control", into: Path) -> None:
    """Make the keys and files of all nodes, for docker-compose.yml.

    Example: lab init --into /nodes
    """
    control.init(into)


def _inner(command: Sequence[str]) -> Sequence[str]:
    """Leave out the `--` with which one may set off the inner command."""
    return command[1:] if command[:1] == ("--",) else command


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    try:
        output.write_text(text)
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}") from error


def _become(command: Sequence[str]) -> NoReturn:
    """Put another program into this one's place: its terminal, its exit code."""
    if not shutil.which(command[0]):
        _fail(LabError(f"the command {command[0]} is missing on this computer"), 1)
    sys.stdout.flush()
    os.execvp(command[0], list(command))


class _Lines:
    """Progress where there is no terminal: a line a step, with its time."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def step(self, text: str) -> None:
        """Print one finished or begun step."""
        seconds = time.monotonic() - self._started
        click.echo(f"[{seconds:6.1f} s] {text}", err=True)

    def count(self, what: str, done: int, total: int) -> None:
        """Print a kind of work when all of it is done."""
        if done == total and total:
            self.step(f"{what}: {done}")


class _Bars(_Lines):
    """Progress on a terminal: a bar for each kind of work."""

    def __init__(self, bars: Any) -> None:
        super().__init__()
        self._bars = bars
        self._tasks: dict[str, Any] = {}

    def step(self, text: str) -> None:
        """Print a step above the bars."""
        seconds = time.monotonic() - self._started
        self._bars.console.print(f"[dim][{seconds:6.1f} s][/] {text}", highlight=False)

    def count(self, what: str, done: int, total: int) -> None:
        """Move one bar."""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)


@contextmanager
def _progress() -> Iterator[_Lines]:
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns: tuple[Any, ...] = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bars(bars)


Step = Callable[[str], None]
