"""The workers of the reference application: one module per task queue, and the process that runs them."""
