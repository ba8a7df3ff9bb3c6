"""Tell ``twist`` which services there are."""

from twisted.application.service import ServiceMaker

dns = ServiceMaker(
    "lab-dns", "services.dns.service", "Answer for zones, authoritatively.", "lab-dns"
)
resolver = ServiceMaker(
    "lab-resolver", "services.resolver.service", "Resolve names.", "lab-resolver"
)
http = ServiceMaker(
    "lab-http", "services.http.service", "Serve a site's pages.", "lab-http"
)
