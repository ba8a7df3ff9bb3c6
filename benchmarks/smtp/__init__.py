"""Mail servers side by side: this project's and Postfix."""
