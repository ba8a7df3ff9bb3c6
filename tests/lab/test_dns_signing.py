"""Signed zones before the verifiers of other servers."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.lab.programs import need
from tests.unit.services.signing import (
    CAMPUS,
    LONGEST,
    make_keys,
    make_signer,
    read,
    write,
)

ZONES = {
    "campus.edu": f"{CAMPUS}{LONGEST} A 192.0.2.13\n",
    ".": """\
@ 3600 SOA ns. Host.Master. 1 7200 3600 1209600 300
@ 3600 NS ns.
ns. 3600 A 192.0.2.1
edu. 3600 NS NS.edu.
ns.edu. 3600 A 192.0.2.2
""",
    "one.example": "@ 60 SOA @ @ 1 2 3 4 5\n@ 60 NS ns.elsewhere.",
}
VERIFIERS = {
    "ldns-verify-zone": (),
    "dnssec-verify": ("-q", "-o", "ORIGIN"),
    "kzonecheck": ("-d", "on", "-o", "ORIGIN"),
}
# Data below a DNAME, which ours keeps back as it does glue, it finds wrong in a file;
# and it cannot read PX.
UNKNOWN_TO_KNOT = ("x.moved", " PX ")


def verify(program: str, origin: str, path: Path) -> None:
    """Let a program verify a zone file; fail with what it says."""
    need(program)
    words = [word.replace("ORIGIN", origin) for word in VERIFIERS[program]]
    done = subprocess.run(
        [program, *words, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("program", VERIFIERS)
@pytest.mark.parametrize("origin", ZONES)
@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
@pytest.mark.parametrize("algorithm", [13, 15], ids=["p256", "ed25519"])
def test_every_signed_zone_is_clean(
    program: str, origin: str, denial: str, algorithm: int, tmp_path: Path
) -> None:
    """Three other readings of the RFCs find nothing missing, wrong or left over."""
    lines = ZONES[origin].splitlines(keepends=True)
    skipped = UNKNOWN_TO_KNOT if program == "kzonecheck" else ()
    zone = read(
        "".join(line for line in lines if not any(one in line for one in skipped)),
        origin,
    )

    make_signer(denial, make_keys(algorithm), origin=zone.origin).sign(
        zone, time.time()
    )

    path = tmp_path / "zone"
    path.write_text(write(zone))
    verify(program, origin, path)


@pytest.mark.parametrize("program", ["ldns-verify-zone", "dnssec-verify"])
@pytest.mark.parametrize("fault", ["expired", "bogus-signatures", "no-denial"])
def test_a_verifier_does_find_what_is_wrong(
    program: str, fault: str, tmp_path: Path
) -> None:
    """A check that always passes would check nothing."""
    zone = read(CAMPUS)

    make_signer(fault=fault).sign(zone, time.time())

    path = tmp_path / "zone"
    path.write_text(write(zone))
    with pytest.raises(AssertionError):
        verify(program, "campus.edu", path)
