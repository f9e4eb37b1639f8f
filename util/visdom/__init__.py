"""The dashboard: a run's folder shown by visdom's server."""
