from testinfra.host import Host

from tests.lab.conftest import Cli


def test_a_page_comes_over_https_without_excuses(alice: Host) -> None:
    """The lab's own authority is trusted in every node: no -k anywhere."""
    page = alice.check_output("curl -sS https://www.bookshop.com/")

    assert "bookshop.com" in page


def test_a_page_comes_over_ipv6(alice: Host) -> None:
    """Both address families cross the routers."""
    code = alice.check_output(
        "curl -6 -sS -o /dev/null -w '%{http_code}' https://www.bookshop.com/"
    )

    assert code == "200"


def test_the_domain_itself_leads_to_its_web_server(alice: Host) -> None:
    """People leave the www out; the certificate has that name too."""
    assert "bookshop" in alice.check_output("curl -sS https://bookshop.com/")


def test_a_wrong_name_fails_to_verify(alice: Host) -> None:
    """A certificate is worth something only if another name is refused."""
    done = alice.run(
        "curl -sS --connect-to wrong.bookshop.com:443:www.bookshop.com:443 "
        "https://wrong.bookshop.com/"
    )

    assert done.rc == 60


def test_a_missing_page_is_not_found(alice: Host) -> None:
    """404 is a reply, not an error of the server."""
    code = alice.check_output(
        "curl -sS -o /dev/null -w '%{http_code}' http://www.bookshop.com/nothing"
    )

    assert code == "404"


def test_services_see_the_lab_too(lab: Cli) -> None:
    """A command inside a server's node resolves names as a client does."""
    answer = lab.check(
        "exec",
        "www.campus",
        "--",
        "/opt/netarium/bin/python",
        "-c",
        "import socket; print(socket.gethostbyname('www.bookshop.com'))",
    )

    assert answer.strip().endswith(".80")
