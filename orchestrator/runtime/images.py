"""The lab's three images: built once, from the same files always to the same tags."""

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docker.errors import APIError, BuildError, DockerException, ImageNotFound
from docker.utils import parse_repository_tag

from orchestrator.errors import LabError
from orchestrator.runtime.connection import (
    Client,
    Report,
    distribution,
    install_packages,
    may_install_packages,
)

SOURCE = Path(__file__).parents[2] / "services"
TARGETS = ("router", "client", "service")
OFFICIAL = "debian:trixie-slim"
BOOTSTRAPPED = "netarium/base:trixie"
SUITE = "trixie"
PYTHON = "3.13"  # what Debian 13 has
REGISTRY_SECONDS = 5.0  # how long a registry may take before the first byte comes
PULL_SECONDS = 300.0
# What Python wheels call the platforms of Debian 13 (glibc 2.41), best first.
PLATFORMS = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# Files of one image alone; a change to them leaves the others as they are.
OWN = {"router": ("router",), "client": ("client",)}
NOT_CODE = ("router", "client")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True)
class Images:
    """The tags of the images that nodes run."""

    service: str
    router: str
    client: str

    def by_name(self) -> dict[str, str]:
        """Return the tags by the names that plans use."""
        return {target: getattr(self, target) for target in TARGETS}


def image_tags(source: Path = SOURCE) -> Images:
    """Return the tags; each sums up all files that go into its image."""
    return Images(
        **{target: f"netarium/{target}:{_digest(source, target)}" for target in TARGETS}
    )


def find_images(client: Client) -> Images | None:
    """Return the tags if the engine has all three images, else None."""
    tags = image_tags()
    return tags if not _missing(client, tags) else None


def ensure_images(client: Client, report: Report) -> Images:
    """Build the images that the engine does not have; usually that is none.

    ``report`` is told of each step.  Raises `LabError` with the last lines of a
    build that fails.
    """
    tags = image_tags()
    missing = _missing(client, tags)
    if missing:
        base = _ensure_base(client, report)
        with tempfile.TemporaryDirectory() as folder:
            wheels = Path(folder)
            if "service" in missing:
                _download_wheels(client, wheels, report)
            for target in missing:
                tag = tags.by_name()[target]
                with _timed(report, f"image {tag} built"):
                    _build(client, target, tag, base, wheels)
        name_latest(client)
    return tags


def name_latest(client: Client) -> None:
    """Give this version's images the tag `latest`, by which docker-compose.yml goes."""
    for name, tag in image_tags().by_name().items():
        client.api.tag(tag, f"netarium/{name}", "latest")


def save_images(client: Client, file: Path) -> None:
    """Write all images into one file, compressed if its name ends in ``.gz``.

    It is written aside and renamed, so that no half file passes for a whole one.
    """
    tags = list(image_tags().by_name().values())
    aside = file.with_name(f".{file.name}.part")
    try:
        with _opened(aside, file.suffix == ".gz", "wb") as out:
            for chunk in _export(client, tags):
                out.write(chunk)
        aside.replace(file)
    except OSError as error:
        raise LabError(f"{file}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)


def load_images(client: Client, file: Path) -> list[str]:
    """Bring in the images of a file; return their tags.

    Raises `LabError` for a file that holds none, or not those of this version.
    """
    try:
        with _opened(file, _is_gzip(file), "rb") as stream:
            loaded = client.images.load(stream)
    except (OSError, EOFError) as error:
        raise LabError(f"{file}: {error}") from error
    except DockerException as error:
        text = "the engine could not load it; is it a file of `lab images save`?"
        raise LabError(f"{file}: {text} ({_short(error)})") from error
    tags = [tag for image in loaded for tag in image.tags]
    missing = [tag for tag in image_tags().by_name().values() if tag not in tags]
    if missing:
        text = f"{file} has {', '.join(tags) or 'no images'}, but this version of "
        raise LabError(f"{text}Netarium needs {', '.join(missing)}; save them with it")
    name_latest(client)
    return tags


def _missing(client: Client, tags: Images) -> list[str]:
    there = {tag for image in client.api.images() for tag in image["RepoTags"] or ()}
    return [name for name, tag in tags.by_name().items() if tag not in there]


def _digest(source: Path, target: str) -> str:
    total = hashlib.sha256(target.encode())
    for name, data, mode in _context(source, OWN.get(target, ("",)), target):
        for part in (name.encode(), data, str(mode).encode()):
            total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:12]


def _context(
    source: Path, folders: Iterable[str], target: str
) -> Iterator[tuple[str, bytes, int]]:
    """Yield the files that an image is made of: name, contents, mode."""
    for path in sorted(source.rglob("*")):
        name = path.relative_to(source).as_posix()
        top = name.partition("/")[0]
        is_code = target == "service" and top not in NOT_CODE
        is_own = top in folders or name in ("Dockerfile", "trust")
        if path.is_file() and (is_own or is_code) and not _is_litter(path):
            yield name, path.read_bytes(), 0o755 if os.access(path, os.X_OK) else 0o644


def _is_litter(path: Path) -> bool:
    return "__pycache__" in path.parts or path.suffix in (".md", ".in", ".pyc")


def _build(client: Client, target: str, tag: str, base: str, wheels: Path) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        # The stages of all targets stand in one file, so all their files come along.
        files = {
            name: (data, mode)
            for each in TARGETS
            for name, data, mode in _context(SOURCE, OWN.get(each, ()), each)
        }
        for wheel in sorted(wheels.iterdir()):
            files[f"wheels/{wheel.name}"] = (wheel.read_bytes(), 0o644)
        for name, (data, mode) in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), mode
            archive.addfile(entry, io.BytesIO(data))
    context.seek(0)
    proxies = {
        name: value
        for proxy in PROXIES
        for name in (proxy, proxy.upper())
        if (value := os.environ.get(name))
    }
    try:
        client.images.build(
            fileobj=context,
            custom_context=True,
            target=target,
            tag=tag,
            buildargs={"BASE": base, **proxies},
            labels={"netarium.image": target},
            rm=True,
            forcerm=True,
        )
    except BuildError as error:
        raise LabError(f"image {tag} could not be built:\n{_last(error)}") from error
    except APIError as error:
        text = error.explanation or str(error)
        raise LabError(f"image {tag} could not be built: {text}") from error


def _last(error: BuildError, count: int = 12) -> str:
    lines = [line for part in error.build_log for line in _lines(part)]
    return "\n".join([*lines[-count:], str(error.msg)])


def _lines(part: Mapping[str, Any]) -> list[str]:
    return str(part.get("stream", "")).rstrip().splitlines()


# The base image


def _ensure_base(client: Client, report: Report) -> str:
    """Return a bare Debian 13: one that is there, a registry's, or bootstrapped."""
    there = {tag for image in client.api.images() for tag in image["RepoTags"] or ()}
    wanted = os.environ.get("NETARIUM_BASE")
    for tag in (wanted, OFFICIAL, BOOTSTRAPPED):
        if tag in there and tag is not None:
            return tag
    if wanted:
        raise LabError(f"NETARIUM_BASE={wanted}: the engine has no such image")
    if _pull(client, OFFICIAL, report):
        return OFFICIAL
    with _timed(report, f"base image {BOOTSTRAPPED} bootstrapped"):
        _bootstrap(client, report)
    return BOOTSTRAPPED


def any_router(client: Client) -> str | None:
    """Return a router image of whatever version: the firewall goes by its name."""
    there = [tag for one in client.api.images() for tag in one["RepoTags"] or ()]
    wanted = image_tags().router
    ours = [tag for tag in there if tag.startswith("netarium/router:")]
    return wanted if wanted in ours else next(iter(ours), None)


def identify(client: Client, names: Iterable[str]) -> dict[str, str]:
    """Map the images of others to what they are now: a tag may come to mean another."""
    return {
        name: client.api.inspect_image(name)["Id"]
        for name in names
        if _has(client, name)
    }


def pull_missing(client: Client, names: Iterable[str], report: Report) -> list[str]:
    """Pull the images of others that the engine does not have; return what is missing.

    A registry that does not answer quickly is given up.
    """
    return [
        name
        for name in names
        if not _has(client, name) and not _pull(client, name, report)
    ]


def _has(client: Client, name: str) -> bool:
    try:
        client.api.inspect_image(name)
    except ImageNotFound:
        return False
    return True


def _pull(client: Client, image: str, report: Report) -> bool:
    """Pull an image if a registry answers quickly; tell whether it came."""
    seconds = float(os.environ.get("NETARIUM_REGISTRY_SECONDS", REGISTRY_SECONDS))
    heard, ended = threading.Event(), threading.Event()
    came: list[bool] = []

    def pull() -> None:
        try:
            name, tag = parse_repository_tag(image)
            tag = tag or "latest"
            for line in client.api.pull(name, tag=tag, stream=True, decode=True):
                heard.set()
                came.append("error" not in line)
        except (APIError, OSError) as error:
            report(f"no {image} from a registry ({_short(error)})")
            came.append(False)
        ended.set()
        heard.set()

    report(f"asking a registry for {image}")
    threading.Thread(target=pull, daemon=True).start()
    if not heard.wait(seconds):
        report(f"no registry answered within {seconds:.0f} s")
        return False
    return ended.wait(PULL_SECONDS) and bool(came) and all(came)


def _short(error: Exception) -> str:
    text = str(getattr(error, "explanation", None) or error)
    return text.splitlines()[0].rpartition(": ")[2][:80]


def _bootstrap(client: Client, report: Report) -> None:
    """Make the image from Debian's packages, as root on Debian or Ubuntu."""
    if not shutil.which("mmdebstrap"):
        if not may_install_packages():
            raise LabError(
                f"no registry gives {OFFICIAL}, and a base image can only be "
                "bootstrapped as root on Debian or Ubuntu; bring the images in with "
                "`lab images load FILE`, or name one with NETARIUM_BASE"
            )
        report("installing mmdebstrap")
        install_packages("mmdebstrap", "debian-archive-keyring")
    report(f"bootstrapping Debian {SUITE}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root.tar")
        command = ["mmdebstrap", "--variant=minbase", SUITE, str(root), *_mirror()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-5:])
            raise LabError(f"mmdebstrap failed:\n{last}")
        repository, _, tag = BOOTSTRAPPED.partition(":")
        client.api.import_image_from_file(str(root), repository, tag)


def _mirror() -> list[str]:
    """Return this machine's own mirror of Debian; elsewhere mmdebstrap knows one."""
    if distribution() != "debian":
        return []
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(SITE)"],
        capture_output=True,
        text=True,
        check=False,
    )
    mirrors = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    return [uri for uri in mirrors if uri.rstrip("/").endswith("/debian")][:1]


def _download_wheels(client: Client, folder: Path, report: Report) -> None:
    """Fetch the services' Python packages with this computer's own pip.

    It knows the proxies, mirrors and certificates of this place, which a container
    would not.  Where it fails the build asks an index itself.
    """
    architecture = client.api.version()["Arch"]
    machine = MACHINES.get(architecture, architecture)
    platforms = [f"--platform={name}_{machine}" for name in PLATFORMS]
    command = [
        *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
        *("--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"),
        *(f"--python-version={PYTHON}", "--implementation=cp", *platforms),
        *("-d", str(folder), "-r", str(SOURCE / "requirements.lock")),
    ]
    with _timed(report, "Python packages fetched"):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        for wheel in folder.iterdir():
            wheel.unlink()
        last = done.stderr.strip().splitlines()[-1:]
        report(f"pip could not fetch them ({''.join(last)}); the build will try")


# Files


def _export(client: Client, tags: list[str]) -> Iterator[bytes]:
    """Stream several images as one archive, shared layers once."""
    api = client.api
    response = api._get(api._url("/images/get"), params={"names": tags}, stream=True)
    try:
        api._raise_for_status(response)
    except APIError as error:
        raise LabError(f"the images cannot be saved: {error.explanation}") from error
    yield from response.iter_content(1 << 20)


def _is_gzip(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _opened(file: Path, is_packed: bool, mode: str) -> Any:
    if not is_packed:
        return file.open(mode)
    level = 3  # a third of the size in a quarter of the time of the usual 9
    return (
        gzip.open(file, mode, compresslevel=level) if "w" in mode else gzip.open(file)
    )


class _timed:  # noqa: N801 - reads as a phrase
    """Report a step when it is done, with the seconds it took."""

    def __init__(self, report: Callable[[str], None], what: str) -> None:
        self._report = report
        self._what = what

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is None:
            seconds = time.monotonic() - self._started
            self._report(f"{self._what} in {seconds:.1f} s")
