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
smtp = ServiceMaker(
    "lab-smtp", "services.smtp.service", "Take mail and pass it on.", "lab-smtp"
)
mailbox = ServiceMaker(
    "lab-mailbox",
    "services.mailbox.service",
    "Keep mail for its readers.",
    "lab-mailbox",
)
