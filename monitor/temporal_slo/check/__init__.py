"""The preflight: it proves on a live Prometheus and a live Temporal that the rules of the specs can see anything."""
