"""What the exporter tells of task queues and of workflow tasks that cannot go on."""
