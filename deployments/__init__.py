"""What runs where: the command line, the process entry points, `prefect.yaml`, the example config, the sandbox."""
