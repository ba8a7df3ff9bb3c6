"""Mail on its way out: to other sites by SMTP, to the site's mailboxes by LMTP."""
