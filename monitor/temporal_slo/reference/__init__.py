"""The reference application: a bus booking workflow, simulated services, a worker and a load generator."""
