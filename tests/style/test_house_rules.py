"""What CONTRIBUTING.md and ARCHITECTURE.md ask for, as far as a program can see it."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = (".ci", "benchmarks", "docs", "labs", "orchestrator", "services", "tests")
MADE = ("__pycache__", ".egg-info")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def walk() -> Iterator[Path]:
    """Yield every file that people write, as a path from the root."""
    files = (path for path in ROOT.iterdir() if path.is_file())
    yield from (path for path in files if path.name != ".git")  # of a worktree
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and not any(name in str(path) for name in MADE):
                yield path


FILES = sorted(path.relative_to(ROOT) for path in walk() if path.name != ".coverage")
MODULES = [path for path in FILES if path.suffix == ".py"]
PROGRAMS = [path for path in MODULES if path.parts[0] in ("orchestrator", "services")]
TESTS = [path for path in MODULES if path.parts[0] == "tests"]
SCRIPTS = [
    path
    for path in FILES
    if path.parts[0] in (".ci", "orchestrator", "services")
    and (ROOT / path).read_bytes().startswith(b"#!")
]


@cache
def parse(path: Path) -> ast.Module:
    """Parse a module; it is only read, never run."""
    return ast.parse((ROOT / path).read_text(), str(path))


def module_name(path: Path) -> str:
    """Return the name that a module is imported by."""
    names = path.with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


NAMES = {module_name(path) for path in MODULES}


def imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Yield what import statements name: modules, and names within modules."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports(path: Path) -> list[str]:
    """List all that a module imports, at its top or later."""
    return list(imported(ast.walk(parse(path))))


def is_of(name: str, package: str) -> bool:
    """Tell whether a name is a package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def shown(path: Path) -> str:
    """Name a test's case by its file."""
    return path.as_posix()


def definitions(tree: ast.AST) -> Iterator[Function | ast.ClassDef]:
    """Yield public classes, functions and methods; not what is inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from definitions(node)


# Who imports whom


@pytest.mark.parametrize("path", PROGRAMS, ids=shown)
def test_the_two_halves_meet_only_in_files_and_protocols(path: Path) -> None:
    """A service could be replaced by one in another language."""
    other = {"orchestrator": "services", "services": "orchestrator"}[path.parts[0]]

    assert [name for name in imports(path) if is_of(name, other)] == []


SERVICES = [path for path in PROGRAMS if path.parts[0] == "services"]


@pytest.mark.parametrize(
    "path", [one for one in SERVICES if len(one.parts) > 2], ids=shown
)
def test_services_share_only_what_is_common(path: Path) -> None:
    """Each folder is one server, and can be read without any other."""
    own = f"services.{path.parts[1]}"

    strange = [
        name
        for name in imports(path)
        if is_of(name, "services")
        and not is_of(name, own)
        and not is_of(name, "services.common")
    ]

    assert strange == []


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("docker", r"orchestrator/runtime/|benchmarks/|tests/"),
        ("yaml", r"orchestrator/load/|tests/"),
        (
            "twisted.internet",
            r"services/.*/(protocol|service)\.py|services/common/(control|readiness|tls)\.py|"
            r"services/(run|probe)\.py|tests/",
        ),
        ("click", r"orchestrator/cli\.py|tests/"),
        ("rich", r"orchestrator/(cli|status)\.py|tests/"),
        ("pytest", r"tests/"),
    ],
    ids=["docker", "yaml", "twisted.internet", "click", "rich", "pytest"],
)
def test_what_is_outside_comes_in_at_one_place(package: str, homes: str) -> None:
    """So what it does badly has to be mended in one place, too."""
    strange = [
        shown(path)
        for path in MODULES
        if not re.match(homes, path.as_posix())
        and any(is_of(name, package) for name in imports(path))
    ]

    assert strange == []


def floors() -> dict[str, int]:
    """Read from ARCHITECTURE.md which module of the orchestrator stands above which."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("cli > "))
    groups = [group.split(", ") for group in line.split(" > ")]
    return {
        f"orchestrator.{name}": -number
        for number, group in enumerate(groups)
        for name in group
    }


def test_imports_point_down_as_the_architecture_says() -> None:
    """What is pure must stay so, however convenient a shortcut would be."""
    floor = floors()
    strange = [
        f"{path} imports {name}"
        for path in PROGRAMS
        for here in floor
        if is_of(module_name(path), here)
        for name in imports(path)
        for there in floor
        if is_of(name, there) and floor[there] > floor[here]
    ]

    assert len(floor) > 8
    assert strange == []


def graph() -> dict[str, set[str]]:
    """Map each module to those that it imports at its top."""
    found: dict[str, set[str]] = {}
    for path in PROGRAMS:
        names = list(imported(iter(parse(path).body)))
        known = {name if name in NAMES else name.rpartition(".")[0] for name in names}
        found[module_name(path)] = known & NAMES
    return found


def test_no_module_imports_itself_by_a_detour() -> None:
    """A circle can only be understood, and tested, as a whole."""
    left = graph()
    while done := [name for name, below in left.items() if not below & set(left)]:
        for name in done:
            del left[name]

    assert left == {}


# What is written


def test_only_the_command_line_prints() -> None:
    """Everything else returns what it found, or logs it."""
    allowed = ("orchestrator/cli.py", "benchmarks/", "tests/")
    strange = [
        f"{path}:{node.lineno}"
        for path in MODULES
        if not path.as_posix().startswith(allowed)
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Name) and node.id == "print"
    ]

    assert strange == []


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.parts[0] != "tests"], ids=shown
)
def test_all_that_is_public_says_what_it_does(path: Path) -> None:
    """A docstring begins with one whole sentence."""
    tree = parse(path)
    nodes: list[ast.Module | Function | ast.ClassDef] = [tree, *definitions(tree)]

    silent = [
        getattr(node, "name", "the module")
        for node in nodes
        if not re.match(r".*?\S[.]\s*(\n\s*\n|\Z)", ast.get_docstring(node) or "", re.S)
    ]

    assert silent == []


@pytest.mark.parametrize("path", TESTS, ids=shown)
def test_every_test_gives_its_reason(path: Path) -> None:
    """The name says what holds; the docstring why it has to."""
    silent = [
        node.name
        for node in ast.walk(parse(path))
        if isinstance(node, Function)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").endswith((".", "?"))
    ]

    assert silent == []


@pytest.mark.parametrize("path", TESTS, ids=shown)
def test_no_test_sleeps(path: Path) -> None:
    """What comes about is polled for, to a deadline; only `eventually` pauses."""
    tree = parse(path)
    pauses = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.name == "eventually"
        for part in ast.walk(node)
        if path == Path("tests/lab/conftest.py")
    }

    sleeps = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) == "time.sleep"
        and id(node) not in pauses
    ]

    assert sleeps == []
    assert "time.sleep" not in imports(path)


@pytest.mark.parametrize("path", MODULES, ids=shown)
def test_letters_beyond_ascii_stand_only_in_texts(path: Path) -> None:
    """A picture may hold an arrow; code and comments are typed on any keyboard."""
    texts = {tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    reader = io.StringIO((ROOT / path).read_text()).readline

    strange = [
        f"{token.start[0]}: {token.string}"
        for token in tokenize.generate_tokens(reader)
        if not token.string.isascii() and token.type not in texts
    ]

    assert strange == []


def lines(path: Path) -> list[str]:
    """Return the lines of any file, whatever else it may hold."""
    return (ROOT / path).read_text(errors="replace").splitlines()


def grep(pattern: str) -> list[str]:
    """List the lines of all files that hold something."""
    return [
        f"{path}:{number}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(lines(path), start=1)
        if re.search(pattern, line)
    ]


def test_what_is_to_be_done_has_a_link() -> None:
    """A note without one is read by nobody who could do it."""
    assert grep(r"\b(TO[D]O|FIX[M]E|XX[X])\b(?!.*https?://)") == []


def test_no_file_tells_where_it_was_written() -> None:
    """Paths and package hosts of one machine are wrong on every other."""
    assert grep(r"(?<![\w.*)}])/(work|root|Users)/") == []
    assert grep(r"pypi\.|pythonhosted\.|npmjs\.|proxy\.golang\.|crates\.io") == []


# What stands beside the code


@pytest.mark.parametrize("path", SCRIPTS, ids=shown)
def test_scripts_run_in_any_shell_and_stop_at_errors(path: Path) -> None:
    """A client's or router's image has dash or busybox, not bash."""
    first, *rest = (ROOT / path).read_text().splitlines()

    assert first == "#!/bin/sh"
    assert any(line.startswith("set -") for line in rest)
    subprocess.run(["sh", "-n", str(ROOT / path)], check=True)


def test_all_scripts_are_found() -> None:
    """A rule that finds nothing to hold holds nothing."""
    assert {
        ".ci/run",
        "orchestrator/make-venv",
        "services/client/client",
        "services/client/delv",
        "services/router/door",
        "services/router/firewall",
        "services/router/router",
        "services/trust",
    } <= set(map(shown, SCRIPTS))


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parts[0] == "labs"], ids=shown
)
def test_every_ready_lab_is_started_by_a_lab_test(path: Path) -> None:
    """A lab that nobody starts is broken before long."""
    lab_tests = [one for one in TESTS if one.parts[1] == "lab"]

    assert any(path.name in (ROOT / one).read_text() for one in lab_tests)


def test_every_target_of_the_makefile_says_what_it_does() -> None:
    """`make` alone lists them."""
    targets = re.findall(r"^[a-z-]+:(?!=).*$", (ROOT / "Makefile").read_text(), re.M)

    assert len(targets) > 10
    assert [line for line in targets if not re.search(r" ## [a-z].*\w", line)] == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.name.endswith(".in")], ids=shown
)
def test_every_direct_dependency_is_locked_with_its_hash(path: Path) -> None:
    """What is installed today is installed tomorrow, or not at all."""
    lock = (ROOT / path.with_suffix(".lock")).read_text()
    wanted = [
        re.split(r"[\[<>=~! ;]", line)[0].lower().replace("_", "-")
        for line in (ROOT / path).read_text().splitlines()
        if line and not line.startswith(("-", "#"))
    ]

    assert wanted
    for name in wanted:
        pinned = rf"^{re.escape(name)}(\[[^]]*\])?==\S+ .*\\\n +--hash=sha256:"
        assert re.search(pinned.replace(" .*", ".*"), lock, re.M), name


@pytest.mark.parametrize(
    "words",
    [
        "[tool.ruff]",
        "[tool.ruff.lint]",
        "max-complexity = 8",
        "[tool.mypy]",
        "strict = true",
        "xfail_strict = true",
        "branch = true",
    ],
)
def test_the_tools_are_strict(words: str) -> None:
    """Whoever loosens one has to say so here, too."""
    assert words in (ROOT / "pyproject.toml").read_text().splitlines()


def test_the_page_on_dependencies_names_each_of_them() -> None:
    """Every package has a reason to be here."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    names = {
        re.split(r"[\[<>=]", line)[0]
        for path in ("requirements.in", "services/requirements.in")
        for line in (ROOT / path).read_text().split()
    }

    assert [name for name in sorted(names) if name not in text] == []
