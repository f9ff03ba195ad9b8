"""Data sources other than visibility: task queues, task problems, schedules, retry storms, calendar months."""
