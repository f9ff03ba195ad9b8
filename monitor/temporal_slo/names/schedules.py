"""What the exporter tells of schedules and of activities that are retried over and over."""
