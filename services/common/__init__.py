"""What several services share: settings, log, readiness."""
