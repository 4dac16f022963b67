"""The worker: settles closed flights, analyses them, runs jobs."""
