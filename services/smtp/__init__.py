"""A mail server: it takes messages by SMTP, keeps them safe, and passes them on."""
