"""What this machine is made of. Every reader takes the folders it reads, so that tests can show it other machines."""
