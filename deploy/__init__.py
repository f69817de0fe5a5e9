"""How Domovoi is put together and run: the command, and files for nginx, systemd and containers."""
