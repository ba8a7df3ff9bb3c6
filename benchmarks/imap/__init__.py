"""Mailbox servers side by side: this project's and Dovecot."""
