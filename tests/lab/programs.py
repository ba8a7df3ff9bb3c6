"""Programs that tests run on this computer; installed where that is allowed."""

import shutil
from collections.abc import Mapping

from orchestrator.runtime.connection import install_packages, may_install_packages

PACKAGES: Mapping[str, str] = {
    "delv": "bind9-dnsutils",
    "dig": "bind9-dnsutils",
    "dnssec-keygen": "bind9-utils",
    "dnssec-signzone": "bind9-utils",
    "dnssec-verify": "bind9-utils",
    "docker-compose": "docker-compose",
    "kdig": "knot-dnsutils",
    "kzonecheck": "knot-dnssecutils",
    "ldns-verify-zone": "ldnsutils",
    "named": "bind9",
    "named-checkzone": "bind9-utils",
    "nsd": "nsd",
    "nsupdate": "bind9-dnsutils",
    "rsync": "rsync",
    "shellcheck": "shellcheck",
    "ssh": "openssh-client",
}


def need(*programs: str) -> None:
    """Make sure that programs are there; fail with the command that installs them."""
    missing = [PACKAGES[name] for name in programs if not shutil.which(name)]
    if missing and may_install_packages():
        install_packages(*missing)
    still = [name for name in programs if not shutil.which(name)]
    packages = " ".join(PACKAGES[name] for name in still)
    assert not still, f"{', '.join(still)} missing: apt-get install {packages}"
