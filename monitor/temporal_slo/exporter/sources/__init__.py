"""Data sources in addition to closed and open runs: task queues and problems, schedules, retry storms, months."""
