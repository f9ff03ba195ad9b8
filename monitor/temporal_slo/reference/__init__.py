"""The reference application that temporal-slo watches: bus bookings, the services they call, a worker and a load."""
