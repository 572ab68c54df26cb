"""The configuration: `segue.yaml`, the environment and the defaults, read once, at the top."""
