"""Zones with all that an authority may have to answer for, signed in every way."""

from collections.abc import Mapping
from pathlib import Path

import dns.name
import dns.zone
from dns.name import Name

from benchmarks.dns.processes import run
from benchmarks.dns.zones import make_keys, sign_zone

DIGEST = "00112233445566778899aabbccddeeff" * 2
LONG = ".".join(["l" * 60] * 3)
MAIN = f"""$TTL 3600
@ 7200 SOA ns1 host\\.master 7 7200 3600 1209600 300
@ NS ns1
@ NS ns2.other.test.
@ MX 10 mail
@ MX 20 mail.other.test.
@ TXT "v=spf1 -all"
@ A 192.0.2.1
@ CAA 0 issue "ca.test"
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
mail 60 A 192.0.2.25
www A 192.0.2.80
www A 192.0.2.81
www AAAA 2001:db8::80
www HTTPS 1 . alpn=h2 ipv4hint=192.0.2.80
_443._tcp.www TLSA 3 1 1 {DIGEST}
_imap._tcp SRV 0 0 143 mail
_imap._tcp SRV 0 0 143 mail.cut
_any URI 1 1 "https://www.diff.test/"
MixedCase TXT "letters" "are equal"
odd\\.dot A 192.0.2.7
odd\\032space A 192.0.2.8
odd\\000byte A 192.0.2.9
odd\\255high A 192.0.2.10
kinds HINFO "PDP-11" "UNIX"
kinds RP host.master txt
kinds AFSDB 1 mail
kinds LOC 52 22 23 N 4 53 32 E -2m 0m 10000m 10m
kinds NAPTR 100 10 "u" "sip+E2U" "!^.*$!sip:info@diff.test!" .
kinds SSHFP 4 2 123456789abcdef67890123456789abcdef67890123456789abcdef123456789
kinds SVCB 1 mail port=53
kinds TYPE65280 \\# 4 0A000001
kinds EUI48 00-00-5e-00-53-2a
kinds CSYNC 66 3 A NS AAAA
a.b.c.deep TXT "empty names above"
*.wild A 192.0.2.100
*.wild TXT "from the star"
*.wild MX 10 mail
there.wild A 192.0.2.101
sub.there.wild A 192.0.2.102
x.ent.wild A 192.0.2.103
*.star.wild CNAME www
*.alias CNAME www
*.chain CNAME c1
*.away CNAME www.other.test.
*.nowhere CNAME nobody
c1 CNAME c2
c2 CNAME c3
c3 CNAME www
loop1 CNAME loop2
loop2 CNAME loop1
self CNAME self
gone CNAME nobody
nodata CNAME ns1
out CNAME www.outside.test.
over CNAME www.other.test.
overgone CNAME nobody.other.test.
towild CNAME any.wild
toent CNAME b.c.deep
tocut CNAME host.cut
tocut2 CNAME cut
tochild CNAME www.child
todname CNAME host.dname
toalias CNAME some.alias
dname DNAME target
dname TXT "beside a dname"
host.target A 192.0.2.120
b.host.target A 192.0.2.121
*.stars.target TXT "wild behind a dname"
dnameout DNAME outside.test.
dnameover DNAME other.test.
dnameloop DNAME x.dnameloop
dnamelong DNAME {LONG}
dnamechain DNAME dname
cut NS ns1.cut
cut NS ns.outside.test.
ns1.cut A 192.0.2.150
ns1.cut AAAA 2001:db8::150
other.cut A 192.0.2.151
secure NS ns.secure
secure NS ns1.cut
secure DS 12345 13 2 {DIGEST}
ns.secure A 192.0.2.160
cut2.under.ent NS ns.cut2.under.ent
ns.cut2.under.ent A 192.0.2.170
nsout NS ns.outside.test.
nsown NS mail
child NS ns1.child
child NS ns1
ns1.child A 192.0.2.180
{{many}}
{{big}}
"""
CHILD = """$TTL 1800
@ SOA ns1 hostmaster 3 7200 3600 1209600 900
@ NS ns1
@ NS ns1.diff.test.
ns1 A 192.0.2.180
www A 192.0.2.181
*.wild A 192.0.2.182
up CNAME www.diff.test.
grand NS ns.grand
ns.grand A 192.0.2.183
"""
OTHER = """$TTL 900
@ SOA ns2 hostmaster 5 7200 3600 1209600 100
@ NS ns2
ns2 A 192.0.2.190
www A 192.0.2.191
mail A 192.0.2.192
host AAAA 2001:db8::193
back CNAME c1.diff.test.
*.wild CNAME back
"""
DENIALS: Mapping[str, tuple[str, ...]] = {
    "unsigned": (),
    "nsec": (),
    "nsec3": ("-3", "-", "-H", "0"),
    "optout": ("-3", "AABBCCDD", "-H", "5", "-A"),
}
# Children first: their DS records go into their parents.
TEXTS = {"child.diff.test": CHILD, "diff.test": MAIN, "other.test": OTHER}


def _main() -> str:
    servers = "\n".join(
        f"many NS n{one}.many\n"
        f"n{one}.many A 192.0.3.{one}\n"
        f"n{one}.many AAAA 2001:db8::3:{one}"
        for one in range(1, 10)
    )
    big = "\n".join(f'big TXT "{number:03} {"z" * 100}"' for number in range(30))
    small = "\n".join(f'middle TXT "{number:03} {"z" * 100}"' for number in range(6))
    return MAIN.replace("{many}", servers).replace("{big}", f"{big}\n{small}")


def write_zones(folder: Path, denial: str) -> dict[str, Path]:
    """Write the three zones, signed as asked; return their files by origin."""
    files = {}
    for origin, text in TEXTS.items():
        file = folder / f"{origin}.zone"
        file.write_text(_main() if origin == "diff.test" else text)
        run("named-checkzone", "-q", "-k", "ignore", origin, str(file))
        if denial != "unsigned":
            keys = make_keys(origin, folder / "keys" / origin)
            file = sign_zone(origin, file, keys, "-g", "-x", *DENIALS[denial])
        files[origin] = file
    return files


def list_owners(files: Mapping[str, Path]) -> list[Name]:
    """List all names of zones, those of NSEC3 records too."""
    found: set[Name] = {dns.name.root}
    for origin, file in files.items():
        zone = dns.zone.from_file(
            str(file), origin, relativize=False, check_origin=False
        )
        found.update(zone.nodes)
    return sorted(found)
