"""The reference application: workflows, workers, an API, simulated services and a load generator; see README.md."""
